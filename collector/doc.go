// Package collector is the centre's side of Fieldpost: a [Server] that agents
// connect to, and the [Store] that it writes to before it acks.
//
//	agents            one link each                    a store of your choice
//	------            ---------------------------      ----------------------
//	 pump-7 --hello-->|                         |----> Hello   grants a session, fences all others
//	        <-welcome-|  reader  --> pending    |      of that agent id, finds where both agree
//	        --data--->|    |           |        |
//	        --more--->|  streams    worker      |----> Append  applies what follows W, durably
//	        <--ack----|              |          |
//	        <--pong---|  output <----+          |<---- W, or which number is refused
//	                  ---------------------------
//	 door-2 ...        one sweeper: who is online, late, offline, has said goodbye
//
// A program embeds a server in a few lines; the example of [Server] does it with
// a store of its own. Package collector/journal has the store that comes with
// Fieldpost, collector/storetest a suite that every store must pass.
//
// # One entry's way
//
// The reader of a link takes frames, puts an entry's fragments together and
// verifies the whole of it: its checksum, its lane, that every record decodes.
// Then the entry waits for the worker, which hands all that has gathered to
// Store.Append at once, and meanwhile the next ones gather. When Append has
// returned, the watermarks go out as acks, of each stream only the newest.
//
// The reader never waits for the store, so a ping is answered at once while the
// store stalls. It pauses where memory runs out, and then nobody is called
// silent for it. Worker and writer are goroutines only while there is work: an
// idle link is one goroutine and a few kilobytes.
//
// # What it promises
//
//   - Acked means stored: no ack is written before Store.Append has returned, and
//     none after an error of it, whose outcome is unknown.
//   - One agent id, one live session (rule 15). A fenced link is closed and hears
//     no ack any more, wherever it was fenced.
//   - A gap or a duplicate is answered with W and never ends a link (rule 9); a
//     number that the store refuses for good is answered with a reject (rule 10).
//   - Bad input ends one link, with a refusal that says what was wrong and one
//     line in the log, and harms nothing else. Nothing is allocated for what a
//     frame declares before its bytes come.
//   - A silent link is closed within two intervals and a second; each agent's
//     state has a cause; after the server's own restart nobody is called offline
//     before two intervals have passed.
//
// # What it does not
//
// It keeps no protocol state beside its links, so several servers may be doors
// to one store. It tells peers apart by their certificates, and with
// [Config.InsecurePlaintext] not at all. It writes nothing to disk;
// durability is the store's.
//
// # File map
//
// store.go is the seam to the store. server.go accepts, link.go is the life of a
// link, hello.go its handshake, receive.go its frames, stream.go puts batches
// together, pending.go is what waits for the store and how it is answered,
// output.go and input.go are the two ends of the wire, budget.go shares the
// memory. secure.go is TLS and who may speak for whom, enroll.go gives certificates,
// door.go limits strangers. agents.go judges who is alive, status.go says it, refusal.go is how
// strangers are answered and logged.
package collector
