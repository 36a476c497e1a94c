package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

// metrics shows the server's and the journal's counts to Prometheus, read anew
// at each scrape.
type metrics struct {
	srv *collector.Server
	j   *journal.Journal
	sec *security
}

// snapshot is what one scrape shows.
type snapshot struct {
	collector.Stats
	journal journal.Stats
	backlog backlog
}

// backlog is what all agents together have not delivered.
type backlog struct {
	messages, bytes uint64
	oldest          time.Duration
}

type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*snapshot) float64
}

func gauge(name, help string, value func(*snapshot) float64) metric {
	return metric{prometheus.NewDesc("fieldpost_"+name, help, nil, nil), prometheus.GaugeValue, value}
}

func counter(name, help string, value func(*snapshot) float64) metric {
	return metric{prometheus.NewDesc("fieldpost_"+name, help, nil, nil), prometheus.CounterValue, value}
}

var plain = []metric{
	gauge("links", "Links that have been welcomed and are open.", func(s *snapshot) float64 { return float64(s.Links) }),
	gauge("links_unidentified", "Links that are open and not welcomed yet.", func(s *snapshot) float64 { return float64(s.Unidentified) }),
	gauge("memory_bytes", "Bytes of batches that are on their way to the store.", func(s *snapshot) float64 { return float64(s.Memory) }),
	counter("connections_total", "Connections accepted.", func(s *snapshot) float64 { return float64(s.Accepted) }),
	counter("tls_failed_total", "Connections that could not be secured.", func(s *snapshot) float64 { return float64(s.TLSFailed) }),
	counter("certificates_given_total", "Certificates given to agents, by enrolment or renewal.", func(s *snapshot) float64 { return float64(s.Enrolled) }),
	counter("sessions_total", "Sessions granted to agents.", func(s *snapshot) float64 { return float64(s.Sessions) }),
	counter("received_bytes_total", "Bytes received from agents.", func(s *snapshot) float64 { return float64(s.BytesIn) }),
	counter("sent_bytes_total", "Bytes sent to agents.", func(s *snapshot) float64 { return float64(s.BytesOut) }),
	counter("received_frames_total", "Frames received from agents.", func(s *snapshot) float64 { return float64(s.FramesIn) }),
	counter("received_entries_total", "Batches and tombstones that came whole.", func(s *snapshot) float64 { return float64(s.Entries) }),
	counter("stored_messages_total", "Messages stored.", func(s *snapshot) float64 { return float64(s.Messages) }),
	counter("tombstoned_messages_total", "Messages settled by tombstones.", func(s *snapshot) float64 { return float64(s.Tombstoned) }),
	counter("duplicate_entries_total", "Entries that were stored already and changed nothing.", func(s *snapshot) float64 { return float64(s.Duplicates) }),
	counter("gap_entries_total", "Entries that did not follow what is stored and changed nothing.", func(s *snapshot) float64 { return float64(s.Gaps) }),
	counter("rejected_messages_total", "Messages refused for good.", func(s *snapshot) float64 { return float64(s.Rejects) }),
	counter("appends_total", "Transactions of entries.", func(s *snapshot) float64 { return float64(s.Appends) }),
	counter("append_seconds_total", "Time spent in them.", func(s *snapshot) float64 { return s.AppendTime.Seconds() }),
	gauge("backlog_messages", "Messages that agents have announced and not delivered, all agents together.", func(s *snapshot) float64 { return float64(s.backlog.messages) }),
	gauge("backlog_bytes", "Bytes of them.", func(s *snapshot) float64 { return float64(s.backlog.bytes) }),
	gauge("backlog_oldest_seconds", "Age of the oldest of them.", func(s *snapshot) float64 { return s.backlog.oldest.Seconds() }),
	gauge("journal_segments", "Files of the journal.", func(s *snapshot) float64 { return float64(s.journal.Segments) }),
	gauge("journal_bytes", "Bytes in them.", func(s *snapshot) float64 { return float64(s.journal.Bytes) }),
	counter("journal_commits_total", "Groups of transactions that were made durable together.", func(s *snapshot) float64 { return float64(s.journal.Commits) }),
	counter("journal_records_total", "Records written.", func(s *snapshot) float64 { return float64(s.journal.Records) }),
	counter("journal_syncs_total", "Fsyncs of the journal's files.", func(s *snapshot) float64 { return float64(s.journal.Syncs) }),
	counter("journal_sync_seconds_total", "Time spent in them.", func(s *snapshot) float64 { return s.journal.SyncTime.Seconds() }),
}

var (
	agentsDesc  = prometheus.NewDesc("fieldpost_agents", "Agents by state.", []string{"state"}, nil)
	expiryDesc  = prometheus.NewDesc("fieldpost_certificate_expiry_seconds", "Time until a certificate of the collector expires.", []string{"certificate"}, nil)
	refusedDesc = prometheus.NewDesc("fieldpost_refused_links_total", "Links refused, by code.", []string{"code"}, nil)
	buildDesc   = prometheus.NewDesc("fieldpost_build_info", "1, with the program's version.", []string{"version"}, nil)
)

// Describe is of [prometheus.Collector].
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for i := range plain {
		ch <- plain[i].desc
	}
	ch <- agentsDesc
	ch <- expiryDesc
	ch <- refusedDesc
	ch <- buildDesc
}

// Collect is of [prometheus.Collector].
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := &snapshot{Stats: m.srv.Stats(), journal: m.j.Stats()}
	for _, a := range m.srv.Agents() {
		s.backlog.messages += a.Backlog
		s.backlog.bytes += a.BacklogBytes
		s.backlog.oldest = max(s.backlog.oldest, a.OldestAge)
	}
	for i := range plain {
		ch <- prometheus.MustNewConstMetric(plain[i].desc, plain[i].kind, plain[i].value(s))
	}
	for _, state := range []heartbeat.State{heartbeat.Unknown, heartbeat.Online, heartbeat.Late, heartbeat.Offline, heartbeat.Goodbye} {
		ch <- prometheus.MustNewConstMetric(agentsDesc, prometheus.GaugeValue, float64(s.Agents[state]), string(state))
	}
	for what, end := range m.sec.ends() {
		ch <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, time.Until(end).Seconds(), what)
	}
	for code, n := range s.Refused {
		ch <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(n), string(code))
	}
	ch <- prometheus.MustNewConstMetric(buildDesc, prometheus.GaugeValue, 1, daemon.Version())
}
