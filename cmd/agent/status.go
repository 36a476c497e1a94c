package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/input"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

func statusCommand() *cobra.Command {
	var s settings
	var asJSON bool
	var wait time.Duration
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the link and the lanes of an agent, running or not",
		Long: `Shows how the agent of a folder stands: its link to the collector, and what each
lane has accepted, what is acked, and what still waits. If no agent runs there, the
state is "stopped" and the figures are read from the folder, which is not changed.

The link's state is one of connected, connecting, waiting, refused,
different-store, duplicate-identity, not-enrolled, stopped.

--json prints one object: id, dir, instance, opened, disk_free_bytes, disk_size_bytes, link {state, since, collector,
store, session, rtt_seconds, cause, error, failed_at, attempts, next_attempt,
clock_offset_seconds, clock_at, links, failures {cause: count}, bytes_sent, frames_sent,
entries_sent, security, exposed, certificate_ends, certificate_days, certificate_error} and
lanes [{lane, state, draining, priority, share, max_bytes, max_messages,
max_age_seconds, free_space, overflow, sync_interval_seconds, live_first_seconds,
compression, epoch, accepted, next, acked, backlog, backlog_bytes, oldest,
oldest_age_seconds, streams, segments, disk_bytes, acked_messages,
commits, syncs {count, sum_seconds, bounds_seconds, within}, dropped {reason: count}, dead_letters,
letters_kept, letters_lost, forks,
rolled_back, relabelled, quarantined, trouble, to_do}] and, of a daemon with inputs besides standard
input, inputs [{kind, name, state, sources [{name, at, size, trouble}], count,
messages, bytes, behind_bytes, dropped, too_long, missed, unread, trouble,
last_read, restarts}]. What does not apply is left out. Times are RFC
3339, durations seconds, share per cent. accepted counts messages since the folder was made; next and
acked are numbers of the lane's present epoch.

It exits 1 if the folder is no agent's, 69 if a daemon has it and does not answer, or
if with --wait no heartbeat was answered in time (the error says how the link stands),
75 if a program without a control socket has it.`,
		Example: `  agent status --dir ./pump-7
  agent status --dir ./pump-7 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			var st fullStatus
			if wait > 0 {
				st, err = awaitLink(cmd.Context(), c.Dir, wait)
			} else {
				st, err = status(cmd.Context(), c.Dir)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return daemon.PrintJSON(cmd.OutOrStdout(), st)
			}
			return printStatus(cmd.OutOrStdout(), st, time.Now())
		},
	}
	f := c.Flags()
	s.addFile(f)
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.DurationVar(&wait, "wait", 0, "wait so long at most, 30s say, until the collector has answered a heartbeat")
	return c
}

// status returns the status of the agent that has dir, or else what the folder
// says. Its error has the exit code.
func status(ctx context.Context, dir string) (fullStatus, error) {
	st, err := askStatus(ctx, dir)
	switch {
	case errors.Is(err, control.ErrNoAnswer):
		return st, daemon.WithCode(daemon.Unreachable, err)
	case !errors.Is(err, control.ErrNotRunning):
		return st, refused(err)
	}
	st.Status, err = agent.ReadStatus(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return st, fmt.Errorf("%w; name an agent's folder with --dir", err)
	case errors.Is(err, agent.ErrInUse):
		// The daemon may have come or gone between the two questions.
		if again, err := askStatus(ctx, dir); err == nil {
			return again, nil
		}
		return st, withCode(withoutSocket(err))
	}
	return st, withCode(err)
}

// printStatus writes st for people.
func printStatus(w io.Writer, st fullStatus, now time.Time) error {
	var b strings.Builder
	fmt.Fprintf(&b, "agent  %s\nfolder %s\nlink   %s", st.ID, st.Dir, st.Link.State)
	l := st.Link
	if l.Collector != "" {
		fmt.Fprintf(&b, " %s", l.Collector)
	}
	if !l.Since.IsZero() {
		fmt.Fprintf(&b, ", since %s (%s)", l.Since.Format(time.RFC3339), ago(now.Sub(l.Since)))
	}
	if l.RTT > 0 {
		fmt.Fprintf(&b, ", round trip %s", time.Duration(l.RTT).Round(10*time.Microsecond))
	}
	if !l.NextAttempt.IsZero() {
		fmt.Fprintf(&b, ", next attempt in %s", ago(l.NextAttempt.Sub(now)))
	}
	if l.Attempts > 0 {
		fmt.Fprintf(&b, ", %d failed attempts", l.Attempts)
	}
	b.WriteByte('\n')
	if l.Error != "" {
		fmt.Fprintf(&b, "cause  %s: %s", l.Cause, config.Printable(l.Error))
		if !l.FailedAt.IsZero() {
			fmt.Fprintf(&b, " (%s ago)", ago(now.Sub(l.FailedAt)))
		}
		b.WriteByte('\n')
	}
	printSecurity(&b, &l)
	b.WriteByte('\n')
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "lane\tpriority\taccepted\tacked\tbacklog\tbytes\toldest\t")
	for _, l := range st.Lanes {
		oldest := "-"
		if !l.Oldest.IsZero() {
			oldest = ago(time.Duration(l.OldestAge))
		}
		priority := "-" // a folder does not know
		if l.Share > 0 {
			priority = strconv.Itoa(l.Priority)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%s\t%s\t\n", l.Lane, priority, l.Accepted, l.Acked, l.Backlog, config.Approximate(l.BacklogBytes), oldest)
	}
	t.Flush()
	for _, l := range st.Lanes {
		for _, note := range notes(&l) {
			fmt.Fprintf(&b, "lane %s: %s\n", l.Lane, note)
		}
	}
	printInputs(&b, st.Inputs, now)
	_, err := io.WriteString(w, b.String())
	return err
}

// printInputs writes what the daemon reads besides standard input.
func printInputs(b *strings.Builder, list []input.Status, now time.Time) {
	if len(list) == 0 {
		return
	}
	b.WriteByte('\n')
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "input\tstate\tsources\tmessages\tread\tbehind\tlast")
	for i := range list {
		st := &list[i]
		sources, last := "-", "-"
		if st.Kind == "file" {
			sources = strconv.Itoa(st.Count)
		}
		if !st.LastRead.IsZero() {
			last = ago(now.Sub(st.LastRead)) + " ago"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", inputName(st), st.State, sources, st.Messages,
			config.Approximate(st.Bytes), config.Approximate(uint64(max(0, st.Behind))), last)
	}
	t.Flush()
	for i := range list {
		for _, note := range inputNotes(&list[i]) {
			fmt.Fprintf(b, "%s: %s\n", inputName(&list[i]), note)
		}
	}
}

// printSecurity says how the link is secured.
func printSecurity(b *strings.Builder, l *agent.LinkStatus) {
	switch {
	case l.Exposed != "":
		fmt.Fprintf(b, "WARNING %s\n", config.Printable(l.Exposed))
	case l.Security == agent.Plaintext:
		fmt.Fprintf(b, "secure no: plain TCP, by insecure_plaintext\n")
	case !l.CertificateEnds.IsZero():
		fmt.Fprintf(b, "secure TLS 1.3, certificate until %s (%.1f days)\n", l.CertificateEnds.Format(time.RFC3339), time.Duration(l.CertificateDays).Hours()/24)
	}
	if l.CertificateError != "" {
		fmt.Fprintf(b, "certificate: %s\n", config.Printable(l.CertificateError))
	}
}

// policy says what a lane's settings are beside its priority, "" if they are all
// defaults.
func policy(l *agent.LaneStatus) string {
	var list []string
	if l.MaxBytes > 0 {
		list = append(list, "at most "+config.Size(l.MaxBytes).String())
	}
	if l.MaxMessages > 0 {
		list = append(list, fmt.Sprintf("at most %d messages", l.MaxMessages))
	}
	if l.MaxAge > 0 {
		list = append(list, "for at most "+config.Duration(l.MaxAge).String())
	}
	if l.FreeSpace > 0 {
		list = append(list, config.Size(l.FreeSpace).String()+" of the disk stay free")
	}
	if l.Overflow != agent.Reject {
		list = append(list, "when full "+l.Overflow.String())
	}
	if l.SyncInterval > 0 {
		list = append(list, "synced only every "+config.Duration(l.SyncInterval).String())
	}
	if l.LiveFirst > 0 {
		list = append(list, "live first after an outage of "+config.Duration(l.LiveFirst).String())
	}
	if l.Compression != agent.CodecNone {
		list = append(list, "compressed by "+l.Compression.String())
	}
	return strings.Join(list, ", ")
}

// notes says what is unusual about a lane.
func notes(l *agent.LaneStatus) (list []string) {
	if l.Trouble != "" {
		list = append(list, config.Printable(l.Trouble))
	}
	if p := policy(l); p != "" {
		list = append(list, p)
	}
	switch {
	case l.Draining && l.Backlog > 0:
		list = append(list, "draining: it is not in the configuration, and accepts nothing")
	case l.Draining:
		list = append(list, "drained: it is not in the configuration; its folder may be deleted while no agent runs")
	}
	for _, reason := range slices.Sorted(maps.Keys(l.Dropped)) {
		list = append(list, fmt.Sprintf("%d dropped, %s", l.Dropped[reason], reason))
	}
	for _, n := range []struct {
		count uint64
		text  string
	}{
		{l.DeadLetters, "%d refused by the store for good"},
		{l.LettersKept, `%d dead letters are kept; see "agent queue dead ls"`},
		{l.LettersLost, "%d dead letters are gone, because there were too many"},
		{uint64(max(0, l.Streams-1)), "%d older streams follow behind as a backlog"},
		{l.Forks, "rolled back: folder and store had parted, %d times"},
		{l.RolledBack, "the memory of this machine went back, %d times"},
		{l.Relabelled, "%d messages are marked \"may be doubled\""},
		{uint64(l.Quarantined), "%d damaged files, of which a copy is kept"},
	} {
		if n.count > 0 {
			list = append(list, fmt.Sprintf(n.text, n.count))
		}
	}
	for _, todo := range l.ToDo {
		list = append(list, "next, "+todo)
	}
	return list
}

// ago prints a span of time to the second.
func ago(d time.Duration) string {
	if d < time.Second {
		return "0s"
	}
	return config.Duration(d.Round(time.Second)).String()
}
