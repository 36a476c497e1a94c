// Package enroll is who may link to a collector: its own authority, the tokens
// with which machines enrol, and the agents whose certificates are revoked. It
// lives in a folder beside the journal.
//
//	DIR/tls/ca.pem         the authority's certificate; agents trust it alone
//	        ca-key.pem     its key
//	        tokens.json    tokens, by the hash of their secret
//	        revoked.json   agents, and from when on certificates count again
//	        http-token.json  the hash of the bearer token for the pages
//	        http-token     its text, until somebody has taken it
//	        lock           held while one of them is changed
//
// A [Registry] has all of it and answers a collector's Enroll and Admit. Where
// certificates come from elsewhere there is no authority and there are no tokens;
// [Revocations] alone does the Admit then. The files are changed by whoever has
// the right to, a command or the daemon, each under the lock, atomically and
// durably; the daemon looks every second whether revoked.json is another.
//
// What the package promises:
//
//   - A token is counted, durably, before the certificate that it gives is signed.
//     The same machine may ask again with the same key, if the answer was lost.
//   - Of a token only a hash is kept; secrets are in no error and no log line.
//   - A certificate is for the id in its request, and that is the one that the
//     token allows: one for many ids does not give that of an agent that is known
//     already, unless it was made to.
//   - An agent that is revoked gets no link and no renewal with any certificate it
//     has, nor a new one by a token that is older than the revocation.
//
// The private key of the authority is what all of it hangs on: who reads it can
// pass as any agent and as the collector. Keep a copy of the folder: without it
// all agents have to enrol again.
package enroll
