package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/wire"
)

// metrics shows the server's and the journal's counts to Prometheus, read anew
// at each scrape.
type metrics struct {
	srv  *collector.Server
	j    *journal.Journal
	sec  *security
	dir  string // the journal's
	each bool   // samples for each agent
}

// snapshot is what one scrape shows.
type snapshot struct {
	collector.Stats
	journal    journal.Stats
	backlog    backlog
	agents     []collector.AgentStatus
	each       bool
	ends       map[string]time.Time // of certificates
	free, size int64                // of the disk
}

// backlog is what all agents together have not delivered.
type backlog struct {
	messages, bytes uint64
	oldest          time.Duration
}

// metric is a family of samples. Its value calls add for each, with the values of its
// labels.
type metric struct {
	name   string
	kind   prometheus.ValueType // 0: a histogram
	help   string
	labels []string
	value  func(s *snapshot, add func(v float64, labels ...string))
	times  func(s *snapshot) *collector.Durations // of a histogram
	desc   *prometheus.Desc
}

// prefix begins the names of all metrics that are ours.
const prefix = "fieldpost_collector_"

// describe fills in the description.
func (m metric) describe() metric {
	m.name = prefix + m.name
	m.desc = prometheus.NewDesc(m.name, m.help, m.labels, nil)
	return m
}

func gauge(name, help string, value func(*snapshot) float64) metric {
	return many(prometheus.GaugeValue, name, help, nil, func(s *snapshot, add func(float64, ...string)) { add(value(s)) })
}

func counter(name, help string, value func(*snapshot) float64) metric {
	return many(prometheus.CounterValue, name, help, nil, func(s *snapshot, add func(float64, ...string)) { add(value(s)) })
}

func many(kind prometheus.ValueType, name, help string, labels []string, value func(*snapshot, func(float64, ...string))) metric {
	return metric{name: name, kind: kind, help: help, labels: labels, value: value}.describe()
}

func histogram(name, help string, times func(*snapshot) *collector.Durations) metric {
	return metric{name: name, help: help, times: times}.describe()
}

// ofAgents is a metric with a sample for each agent, if they are wanted.
func ofAgents(name, help string, value func(*collector.AgentStatus) float64) metric {
	return many(prometheus.GaugeValue, name, help, []string{"agent"}, func(s *snapshot, add func(float64, ...string)) {
		if s.each {
			for i := range s.agents {
				add(value(&s.agents[i]), string(s.agents[i].ID))
			}
		}
	})
}

// families are all metrics of the daemon besides those of Go and of the process;
// docs/METRICS.md is made from them.
var families = []metric{
	many(prometheus.GaugeValue, "build_info", "1, with the program's version.", []string{"version"}, func(_ *snapshot, add func(float64, ...string)) { add(1, daemon.Version()) }),
	many(prometheus.GaugeValue, "agents", "Agents by state.", []string{"state"}, func(s *snapshot, add func(float64, ...string)) {
		for _, state := range []heartbeat.State{heartbeat.Unknown, heartbeat.Online, heartbeat.Late, heartbeat.Offline, heartbeat.Goodbye} {
			add(float64(s.Agents[state]), string(state))
		}
	}),
	gauge("agents_contested", "Agents whose id another process took within the last hour while their link was alive: clones.", func(s *snapshot) float64 { return float64(s.Contested) }),
	many(prometheus.CounterValue, "incidents_total", "What happened to agents' folders and ids, by kind (collector agents ID).", []string{"incident"}, func(s *snapshot, add func(float64, ...string)) {
		for _, k := range ledger.IncidentKinds() {
			add(float64(s.journal.Incidents[k]), k.String())
		}
	}),
	gauge("links", "Links that have been welcomed and are open.", func(s *snapshot) float64 { return float64(s.Links) }),
	gauge("links_unidentified", "Links that are open and not welcomed yet.", func(s *snapshot) float64 { return float64(s.Unidentified) }),
	gauge("link_rtt_max_seconds", "The longest of the links' last round trips.", func(s *snapshot) float64 { return s.MaxRTT.Seconds() }),
	counter("connections_total", "Connections accepted.", func(s *snapshot) float64 { return float64(s.Accepted) }),
	counter("tls_failed_total", "Connections that could not be secured: scanners, agents of another authority, wrong clocks.", func(s *snapshot) float64 { return float64(s.TLSFailed) }),
	many(prometheus.CounterValue, "refused_links_total", "Links refused, by code.", []string{"code"}, func(s *snapshot, add func(float64, ...string)) {
		for _, code := range wire.RefuseCodes() {
			add(float64(s.Refused[code]), string(code))
		}
	}),
	counter("certificates_given_total", "Certificates given to agents, by enrolment or renewal.", func(s *snapshot) float64 { return float64(s.Enrolled) }),
	many(prometheus.GaugeValue, "certificate_expiry_seconds", "Time until the collector's certificate, and its authority's, expire.", []string{"certificate"}, func(s *snapshot, add func(float64, ...string)) {
		for what, end := range s.ends {
			add(time.Until(end).Seconds(), what)
		}
	}),
	counter("sessions_total", "Sessions granted to agents.", func(s *snapshot) float64 { return float64(s.Sessions) }),
	counter("received_bytes_total", "Bytes received from agents.", func(s *snapshot) float64 { return float64(s.BytesIn) }),
	counter("received_frames_total", "Frames received from agents.", func(s *snapshot) float64 { return float64(s.FramesIn) }),
	counter("received_entries_total", "Batches and tombstones that came whole.", func(s *snapshot) float64 { return float64(s.Entries) }),
	counter("sent_bytes_total", "Bytes sent to agents.", func(s *snapshot) float64 { return float64(s.BytesOut) }),
	gauge("memory_bytes", "Bytes of batches that are on their way to the store.", func(s *snapshot) float64 { return float64(s.Memory) }),
	counter("stored_messages_total", "Messages stored.", func(s *snapshot) float64 { return float64(s.Messages) }),
	many(prometheus.CounterValue, "tombstoned_messages_total", "Messages settled by tombstones, by reason.", []string{"reason"}, func(s *snapshot, add func(float64, ...string)) {
		for _, r := range wire.Reasons() {
			add(float64(s.Tombstoned[r]), r.String())
		}
	}),
	counter("rejected_messages_total", "Messages refused for good.", func(s *snapshot) float64 { return float64(s.Rejects) }),
	counter("duplicate_entries_total", "Entries that were stored already and changed nothing; a few after reconnects are normal.", func(s *snapshot) float64 { return float64(s.Duplicates) }),
	counter("gap_entries_total", "Entries that did not follow what is stored and changed nothing; a few after reconnects are normal.", func(s *snapshot) float64 { return float64(s.Gaps) }),
	histogram("append_seconds", "Time of the store's transactions of entries.", func(s *snapshot) *collector.Durations { return &s.Appends }),
	gauge("store_lag_seconds", "For how long the oldest transaction of entries that is under way has waited for the store.", func(s *snapshot) float64 { return s.StoreLag.Seconds() }),
	gauge("backlog_messages", "Messages that agents have announced and not delivered, all agents together.", func(s *snapshot) float64 { return float64(s.backlog.messages) }),
	gauge("backlog_bytes", "Bytes of them.", func(s *snapshot) float64 { return float64(s.backlog.bytes) }),
	gauge("backlog_oldest_seconds", "Age of the oldest of them.", func(s *snapshot) float64 { return s.backlog.oldest.Seconds() }),
	gauge("journal_segments", "Files of the journal.", func(s *snapshot) float64 { return float64(s.journal.Segments) }),
	gauge("journal_bytes", "Bytes in them.", func(s *snapshot) float64 { return float64(s.journal.Bytes) }),
	counter("journal_commits_total", "Groups of transactions that were made durable together.", func(s *snapshot) float64 { return float64(s.journal.Commits) }),
	counter("journal_records_total", "Records written.", func(s *snapshot) float64 { return float64(s.journal.Records) }),
	histogram("journal_fsync_seconds", "Time of the fsyncs of the journal's files.", func(s *snapshot) *collector.Durations { return &s.journal.Syncs }),
	gauge("disk_free_bytes", "Bytes free on the disk of the journal.", func(s *snapshot) float64 { return float64(s.free) }),
	gauge("disk_size_bytes", "Size of that disk.", func(s *snapshot) float64 { return float64(s.size) }),

	ofAgents("agent_up", "1 while the agent is online or late, 0 else; only with agent_metrics.", func(a *collector.AgentStatus) float64 {
		if a.State == heartbeat.Online || a.State == heartbeat.Late {
			return 1
		}
		return 0
	}),
	ofAgents("agent_seen_timestamp_seconds", "When the agent was last heard, since 1970; only with agent_metrics.", func(a *collector.AgentStatus) float64 {
		if a.Seen.IsZero() {
			return 0
		}
		return float64(a.Seen.UnixMilli()) / 1000
	}),
	ofAgents("agent_backlog_messages", "Messages that the agent has announced and not delivered; only with agent_metrics.", func(a *collector.AgentStatus) float64 { return float64(a.Backlog) }),
	ofAgents("agent_backlog_oldest_seconds", "Age of the oldest of them; only with agent_metrics.", func(a *collector.AgentStatus) float64 { return a.OldestAge.Seconds() }),
}

// Describe is of [prometheus.Collector].
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for i := range families {
		ch <- families[i].desc
	}
}

// Collect is of [prometheus.Collector].
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := &snapshot{Stats: m.srv.Stats(), journal: m.j.Stats(), agents: m.srv.Agents(), each: m.each, ends: m.sec.ends()}
	s.free, s.size, _ = diskSpace(m.dir) // unknown: 0
	for i := range s.agents {
		a := &s.agents[i]
		s.backlog.messages += a.Backlog
		s.backlog.bytes += a.BacklogBytes
		s.backlog.oldest = max(s.backlog.oldest, a.OldestAge)
	}
	for i := range families {
		f := &families[i]
		if f.times != nil {
			d := f.times(s)
			within := map[float64]uint64{}
			for k, bound := range collector.DurationBounds {
				within[bound.Seconds()] = d.Within[k]
			}
			ch <- prometheus.MustNewConstHistogram(f.desc, d.Count, d.Sum.Seconds(), within)
			continue
		}
		f.value(s, func(v float64, labels ...string) { ch <- prometheus.MustNewConstMetric(f.desc, f.kind, v, labels...) })
	}
}
