// Package agent is Fieldpost's agent as a library: it puts messages on disk,
// says so, and carries them to a collector whenever there is a link.
//
//	a, err := agent.Open(ctx, agent.Config{
//		ID:         "pump-7",
//		Dir:        "/var/lib/pump/outbox",
//		Collectors: []string{"collector.example.com:4717"},
//	})
//	if err != nil {
//		return err
//	}
//	defer a.Close()
//	err = a.Send(ctx, agent.Message{Topic: "pump/pressure", Body: []byte("3.2 bar")})
//
// One message's way:
//
//	Send ---> lane (package queue) ---> transport ---> collector ---> its store
//	   <--- nil: on disk        ^                                        |
//	                            +----------- ack: stored ----------------+
//
// # What a nil means
//
// Send, SendBatch and a SendAsync callback give nil once the message is on disk
// and synced. From then on it is the agent's to deliver: over restarts, power
// cuts and outages of any length, once and in order within its lane. Any error
// that is ctx.Err() or one of this package's means that the message is certainly
// not accepted, except [ErrUncertain], which says that it may be. A lane with a
// [LaneConfig.SyncInterval] is weaker, by wish: there nil comes before the disk.
//
// # Lanes
//
// A lane is a queue of its own. [Config.Lanes] has their settings, [Config.Routes]
// say by topic which lane a message goes to that names none. On the link a lane of
// higher [LaneConfig.Priority] overtakes the others, which keep a share. Order
// holds within a lane, not between lanes. A lane may have limits, and
// [LaneConfig.Overflow] says what happens beyond them: what is dropped leaves a
// tombstone, which travels in its place. [Agent.Reconfigure] changes lanes, routes and
// collectors while the agent runs.
//
// # The link is encrypted
//
// It needs a certificate: [Enroll] gets one for the folder with a token of the
// collector, and the agent renews it; or [Config.TLS] names files. Until there is
// one, messages are kept, and the link's state is not-enrolled.
//
// # What it does not do
//
// It keeps no message that it has not accepted, and it does not wait for the
// collector: [Agent.Flush] does. It does not log unless it is given a logger, and
// imports no metrics or HTTP library; [Agent.Status] has the figures, [Agent.Contents]
// and [Agent.Messages] show what lies in a lane, and [Agent.Purge] gives it up. The
// functions whose names begin with Read do so for a folder whose agent does not run.
//
// An Agent's methods may be called concurrently. One folder serves one agent of
// one process at a time.
package agent
