package main

import (
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/input"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/wire"
)

// snapshot is what one scrape shows.
type snapshot struct {
	agent.Status
	inputs  []input.Status
	now     time.Time
	process process
}

// gauge and counter are metrics with one sample.
func gauge(name, help string, value func(*snapshot) float64) family {
	return family{"fieldpost_agent_" + name, "gauge", help, nil, func(s *snapshot, to *samples) { to.add(value(s)) }}
}

func counter(name, help string, value func(*snapshot) float64) family {
	f := gauge(name, help, value)
	f.kind = "counter"
	return f
}

// ofLanes is a metric with a sample for each lane.
func ofLanes(kind, name, help string, value func(*snapshot, *agent.LaneStatus) float64) family {
	return family{"fieldpost_agent_" + name, kind, help, []string{"lane"}, func(s *snapshot, to *samples) {
		for i := range s.Lanes {
			to.add(value(s, &s.Lanes[i]), s.Lanes[i].Lane)
		}
	}}
}

// ofInputs is a metric with a sample for each kind of input: names are paths and
// commands, which may hold secrets.
func ofInputs(kind, name, help string, value func(*input.Status) float64) family {
	return family{"fieldpost_agent_input_" + name, kind, help, []string{"input"}, func(s *snapshot, to *samples) {
		var kinds []string
		sums := map[string]float64{}
		for i := range s.inputs {
			in := &s.inputs[i]
			if _, ok := sums[in.Kind]; !ok {
				kinds = append(kinds, in.Kind)
			}
			sums[in.Kind] += value(in)
		}
		for _, k := range kinds {
			to.add(sums[k], k)
		}
	}}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// families are all metrics of the daemon; docs/METRICS.md is made from them.
var families = []family{
	{"fieldpost_agent_build_info", "gauge", "1, with the program's version.", []string{"version"}, func(_ *snapshot, to *samples) { to.add(1, daemon.Version()) }},
	{"fieldpost_agent_link_state", "gauge", "1 for the state in which the link is, 0 for the others.", []string{"state"}, func(s *snapshot, to *samples) {
		for _, state := range agent.LinkStates {
			to.add(truth(s.Link.State == string(state)), string(state))
		}
	}},
	gauge("link_state_seconds", "Time since the link's state began.", func(s *snapshot) float64 { return s.now.Sub(s.Link.Since).Seconds() }),
	gauge("link_rtt_seconds", "Last round trip to the collector; 0: not measured yet.", func(s *snapshot) float64 { return time.Duration(s.Link.RTT).Seconds() }),
	counter("links_total", "Links that were connected.", func(s *snapshot) float64 { return float64(s.Link.Links) }),
	{"fieldpost_agent_link_failures_total", "counter", "Attempts and links that failed, by cause.", []string{"cause"}, func(s *snapshot, to *samples) {
		for _, cause := range agent.LinkCauses {
			to.add(float64(s.Link.Failures[cause]), string(cause))
		}
	}},
	counter("sent_bytes_total", "Bytes sent to collectors, before encryption.", func(s *snapshot) float64 { return float64(s.Link.BytesSent) }),
	counter("sent_frames_total", "Frames sent to collectors.", func(s *snapshot) float64 { return float64(s.Link.FramesSent) }),
	counter("sent_entries_total", "Batches and tombstones sent, those sent again included.", func(s *snapshot) float64 { return float64(s.Link.EntriesSent) }),
	{"fieldpost_agent_certificate_expiry_seconds", "gauge", "Time until the agent's certificate expires, below 0 after it; no sample without one.", nil, func(s *snapshot, to *samples) {
		if !s.Link.CertificateEnds.IsZero() {
			to.add(s.Link.CertificateEnds.Sub(s.now).Seconds())
		}
	}},
	gauge("certificate_failing", "1 while the certificate cannot be read or renewed.", func(s *snapshot) float64 { return truth(s.Link.CertificateError != "") }),
	gauge("disk_free_bytes", "Bytes free on the disk of the agent's folder.", func(s *snapshot) float64 { return float64(s.DiskFree) }),
	gauge("disk_size_bytes", "Size of that disk.", func(s *snapshot) float64 { return float64(s.DiskSize) }),

	{"fieldpost_agent_lane_state", "gauge", "1 for the state in which a lane is, 0 for the others.", []string{"lane", "state"}, func(s *snapshot, to *samples) {
		for i := range s.Lanes {
			for _, state := range agent.LaneStates {
				to.add(truth(s.Lanes[i].State == state), s.Lanes[i].Lane, state)
			}
		}
	}},
	ofLanes("gauge", "queue_messages", "Messages that no store has acked.", func(_ *snapshot, l *agent.LaneStatus) float64 { return float64(l.Backlog) }),
	ofLanes("gauge", "queue_bytes", "Bytes of them on disk, about.", func(_ *snapshot, l *agent.LaneStatus) float64 { return float64(l.BacklogBytes) }),
	ofLanes("gauge", "queue_oldest_seconds", "Age of the oldest of them, by its own time; 0: there is none.", func(_ *snapshot, l *agent.LaneStatus) float64 { return time.Duration(l.OldestAge).Seconds() }),
	ofLanes("gauge", "queue_disk_bytes", "Bytes of the lane's files.", func(_ *snapshot, l *agent.LaneStatus) float64 { return float64(l.DiskBytes) }),
	ofLanes("gauge", "queue_limit_bytes", "Limit of them (max_bytes); 0: none but the disk's.", func(_ *snapshot, l *agent.LaneStatus) float64 { return float64(l.MaxBytes) }),
	ofLanes("gauge", "queue_limit_messages", "Limit of messages without an ack (max_messages); 0: none.", func(_ *snapshot, l *agent.LaneStatus) float64 { return float64(l.MaxMessages) }),
	ofLanes("gauge", "queue_segments", "Files of the lane.", func(_ *snapshot, l *agent.LaneStatus) float64 { return float64(l.Segments) }),
	ofLanes("gauge", "queue_streams", "Streams that are not delivered, the one that takes messages included.", func(_ *snapshot, l *agent.LaneStatus) float64 { return float64(l.Streams) }),
	ofLanes("gauge", "quarantined_files", "Damaged files of which a copy is kept.", func(_ *snapshot, l *agent.LaneStatus) float64 { return float64(l.Quarantined) }),
	ofLanes("gauge", "dead_letters", "Messages that the store has refused for good and that are kept.", func(_ *snapshot, l *agent.LaneStatus) float64 { return float64(l.LettersKept) }),
	ofLanes("counter", "accepted_messages_total", "Messages accepted since the folder was made.", func(_ *snapshot, l *agent.LaneStatus) float64 { return float64(l.Accepted) }),
	ofLanes("counter", "acked_messages_total", "Messages and tombstones acked since the daemon began.", func(_ *snapshot, l *agent.LaneStatus) float64 { return float64(l.AckedMessages) }),
	{"fieldpost_agent_tombstoned_messages_total", "counter", "Messages that were dropped since the folder was made, by reason.", []string{"lane", "reason"}, func(s *snapshot, to *samples) {
		for i := range s.Lanes {
			for _, r := range wire.Reasons() {
				to.add(float64(s.Lanes[i].Dropped[r]), s.Lanes[i].Lane, r.String())
			}
		}
	}},
	ofLanes("counter", "rejected_messages_total", "Messages that the store refused for good since the folder was made.", func(_ *snapshot, l *agent.LaneStatus) float64 { return float64(l.DeadLetters) }),
	ofLanes("counter", "dead_letters_lost_total", "Dead letters that had to go because there were too many.", func(_ *snapshot, l *agent.LaneStatus) float64 { return float64(l.LettersLost) }),
	ofLanes("counter", "forks_total", "Times that folder and store had parted (rolled back) since the folder was made.", func(_ *snapshot, l *agent.LaneStatus) float64 { return float64(l.Forks) }),
	ofLanes("counter", "memory_went_back_total", "Times that a running machine was seen to be set back since the folder was made.", func(_ *snapshot, l *agent.LaneStatus) float64 { return float64(l.RolledBack) }),
	ofLanes("counter", "relabelled_messages_total", "Messages marked \"may be doubled\" because of that.", func(_ *snapshot, l *agent.LaneStatus) float64 { return float64(l.Relabelled) }),
	ofLanes("counter", "commits_total", "Transactions of the lane since the daemon began.", func(_ *snapshot, l *agent.LaneStatus) float64 { return float64(l.Commits) }),
	{"fieldpost_agent_fsync_seconds", "histogram", "Time of the fsyncs of these transactions.", []string{"lane"}, func(s *snapshot, to *samples) {
		for i := range s.Lanes {
			l := &s.Lanes[i]
			lane := []string{l.Lane}
			for k, bound := range l.Syncs.Bounds {
				to.line("_bucket", number(time.Duration(bound).Seconds()), float64(l.Syncs.Within[k]), lane)
			}
			to.line("_bucket", "+Inf", float64(l.Syncs.Count), lane)
			to.line("_sum", "", time.Duration(l.Syncs.Sum).Seconds(), lane)
			to.line("_count", "", float64(l.Syncs.Count), lane)
		}
	}},

	ofInputs("gauge", "behind_bytes", "Bytes that are there to be read and not yet accepted.", func(in *input.Status) float64 { return float64(in.Behind) }),
	ofInputs("gauge", "troubled", "Inputs of this kind with which something is wrong.", func(in *input.Status) float64 { return truth(in.Trouble != "") }),
	ofInputs("counter", "messages_total", "Messages accepted from inputs since the daemon began, or the input was changed.", func(in *input.Status) float64 { return float64(in.Messages) }),
	ofInputs("counter", "bytes_total", "Bytes read.", func(in *input.Status) float64 { return float64(in.Bytes) }),
	ofInputs("counter", "dropped_messages_total", "Messages of inputs that a lane's policy dropped.", func(in *input.Status) float64 { return float64(in.Dropped) }),
	ofInputs("counter", "too_long_messages_total", "Messages above a limit, cut or passed over.", func(in *input.Status) float64 { return float64(in.TooLong) }),
	ofInputs("counter", "missed_total", "Samples or lines that could not be handed in.", func(in *input.Status) float64 { return float64(in.Missed) }),
	ofInputs("counter", "unread_bytes_total", "Bytes of files that were gone before they were read.", func(in *input.Status) float64 { return float64(in.Unread) }),
	ofInputs("counter", "restarts_total", "Times that a command was started again.", func(in *input.Status) float64 { return float64(in.Restarts) }),

	{"process_start_time_seconds", "gauge", "When the process began, since 1970.", nil, func(s *snapshot, to *samples) { to.add(float64(s.Opened.UnixMilli()) / 1000) }},
	{"process_cpu_seconds_total", "counter", "CPU time of the process; no sample where the system does not say.", nil, func(s *snapshot, to *samples) {
		if s.process.known {
			to.add(s.process.cpu.Seconds())
		}
	}},
	{"process_resident_memory_bytes", "gauge", "Memory of the process; no sample where the system does not say.", nil, func(s *snapshot, to *samples) {
		if s.process.known {
			to.add(float64(s.process.resident))
		}
	}},
	{"process_open_fds", "gauge", "Open files of the process; no sample where the system does not say.", nil, func(s *snapshot, to *samples) {
		if s.process.known {
			to.add(float64(s.process.files))
		}
	}},
	{"go_goroutines", "gauge", "Goroutines.", nil, func(s *snapshot, to *samples) { to.add(float64(s.process.goroutines)) }},
}
