// Package control is how a command talks to the daemon that has a folder: small
// requests in JSON over a socket in that folder.
//
//	agent send   --Call("POST", "/send")--> DIR/control --Handle--> the daemon's agent
//	agent status --Call("GET", "/status")-> (HTTP/1.1)
//
// On Unix the socket is DIR/control, open to its owner only; Linux also tells the
// daemon who asks, and it answers its own user and root alone. Where its path would
// be longer than the operating system takes, Linux reaches it through
// /proc/self/fd. On Windows it is a named pipe, open to its owner, the administrators
// and the system; DIR/control holds its name, which is random and new with each start,
// so that nobody who may not read the folder can take its place.
//
// What the package promises:
//
//   - A daemon listens only after it has locked the folder, so a socket that is
//     already there belongs to one that was killed, and is replaced.
//   - A call that fails says which of three things it knows: no daemon runs
//     ([ErrNotRunning], nothing was asked), the daemon said no ([*Refusal]), or
//     the answer was lost ([ErrNoAnswer], the request may have been obeyed).
//
// It has no authentication beyond the operating system's and is no interface for
// other machines.
package control
