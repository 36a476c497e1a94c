package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/enroll"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/carry"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/internal/durable"
)

func importCommand() *cobra.Command {
	var s settings
	var o collector.ImportOptions
	var receipt string
	var asJSON bool
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Take a carry file, every message once, and write its receipt",
		Long: `Takes a carry file that "agent queue export --carry" has written. Every number is
stored once, also if the file is imported again, if another one overlaps it, and while
the agent's link delivers the same. It works beside a running collector, through it, and
on the folder of one that does not run.

The whole file is verified first: of a damaged, cut or foreign file nothing is taken.
A file that begins behind what the store has is refused: import the earlier ones first.
Where an agent's folder was put back to an older state, what is new in the file goes on
in an epoch of its own ("rolled back"), as it does on a link.

An agent that is enrolled signs what it exports, and a collector believes those files
alone: signed with a certificate that would open a link for that agent, or one that has
ended less than a year ago, and that is not revoked. --unsigned takes a file without a
signature, of an agent whose site has no link to enrol over; with insecure_plaintext
every file is believed. The receipt is signed with the collector's certificate.

Then the receipt is written to FILE.receipt, or where --receipt says. Bring it back to
the agent: "agent queue receipt FILE.receipt" frees what is stored. Without it nothing is
lost: the next export brings the same again.

--json prints one object: file (its id), agent, created, streams [{lane, epoch, w, last,
stored, tombstoned, known, forked, rejected, why, held}]: numbers up to w of last are at
the store now; known were there before. rejected is a number that the store refuses for
good; the lane's import ends there, and its message becomes a dead letter with the receipt.

It exits 1 if the file is refused, 69 if a collector has the folder and does not answer
(import again), 75 if the store cannot take it now or it was interrupted.`,
		Example: `  collector import /media/stick/pump-7.carry
  collector import --dry-run pump-7.carry
  collector import --unsigned island-3.carry
  collector import --dir /var/lib/fieldpost/collector --receipt /tmp/pump-7.receipt pump-7.carry`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			if receipt == "" {
				receipt = args[0] + ".receipt"
			}
			report, err := importFile(cmd.Context(), c, args[0], o)
			if report.Agent != "" {
				if perr := printImported(cmd.OutOrStdout(), &report, o.DryRun, asJSON); err == nil {
					err = perr
				}
			}
			if err != nil {
				return withCode(err)
			}
			return writeReceipt(receipt, &report, cmd.ErrOrStderr())
		},
	}
	s.addFile(c.Flags())
	f := c.Flags()
	f.BoolVar(&o.DryRun, "dry-run", false, "only say what would be done")
	f.BoolVar(&o.DeclareLost, "declare-lost", false, "record numbers that neither store nor agent has as lost-at-store,\nand go on behind them")
	f.BoolVar(&o.Unsigned, "unsigned", false, "take a file that no agent has signed: anybody can have written it")
	f.StringVar(&receipt, "receipt", "", "write the receipt to this `file` (default FILE.receipt)")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	s.log = daemon.AddLogFlags(f)
	return c
}

// importFile verifies a file and imports it: through the collector that has the
// folder, or into its journal.
func importFile(ctx context.Context, c config.Collector, path string, o collector.ImportOptions) (report collector.ImportReport, err error) {
	f, err := os.Open(path)
	if err != nil {
		return report, fmt.Errorf("%w; name the file that \"agent queue export --carry\" has written", err)
	}
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { f.Close() }) // a slow stick must not keep the command
	defer stop()
	if _, _, err = carry.Verify(f, nil); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if ctx.Err() != nil {
		return report, interruptedImport(ctx, err)
	}
	if err != nil {
		return report, fmt.Errorf("%s: %w; nothing was taken: copy it again from the agent's side, or export again", path, err)
	}
	q := url.Values{"dry-run": {strconv.FormatBool(o.DryRun)}, "declare-lost": {strconv.FormatBool(o.DeclareLost)}, "unsigned": {strconv.FormatBool(o.Unsigned)}}
	var answer importAnswer
	err = control.Upload(ctx, c.Dir, "/import", q, f, &answer)
	switch {
	case errors.Is(err, control.ErrNotRunning):
		if _, err = f.Seek(0, io.SeekStart); err == nil {
			report, err = importHere(ctx, c, f, o)
		}
	case errors.Is(err, control.ErrNoAnswer) && ctx.Err() == nil:
		err = fmt.Errorf("%w; what was taken is stored once, import again to go on", err)
	case err == nil:
		report, err = answer.Report, answer.err()
	}
	if err != nil && ctx.Err() != nil {
		return report, interruptedImport(ctx, err)
	}
	return report, err
}

func interruptedImport(ctx context.Context, err error) error {
	return daemon.WithCode(daemon.TryLater, fmt.Errorf("interrupted: %w; what was taken is stored, import again to go on", errors.Join(ctx.Err(), err)))
}

// importHere imports into the journal of a collector that does not run.
func importHere(ctx context.Context, c config.Collector, from io.Reader, o collector.ImportOptions) (report collector.ImportReport, err error) {
	if err := daemon.CheckOwner(c.Dir); err != nil {
		return report, err
	}
	if _, err := journal.OpenReader(c.Dir); err != nil { // opening would make a journal where there is none
		return report, err
	}
	j, err := journal.Open(journal.Options{Dir: c.Dir, Logger: daemon.Logger(os.Stderr, config.Log{Level: max(c.Log.Level, 4), Format: c.Log.Format})})
	if err != nil {
		return report, err
	}
	if o.Trust, err = trust(&c); err == nil {
		report, err = collector.ImportFile(ctx, j, from, o)
	}
	if err != nil && !refusedImport(err) {
		err = daemon.WithCode(daemon.TryLater, err)
	}
	return report, errors.Join(err, j.Close())
}

// trust returns whose files the collector with a configuration believes. It makes no
// authority where there is none: a folder in which no collector has run with TLS
// believes everybody, as its links did.
func trust(c *config.Collector) (*collector.ImportTrust, error) {
	if !c.Plaintext && !c.TLS.Given() {
		switch _, err := enroll.Open(enroll.Options{Dir: c.Dir}); {
		case !errors.Is(err, enroll.ErrNone):
		case !enroll.Exists(c.Dir):
			return nil, nil
		default: // certificates come from files, and the configuration that names them is not given
			return &collector.ImportTrust{Agents: x509.NewCertPool()}, nil
		}
	}
	sec, err := newSecurity(c, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	var cfg collector.Config
	if err := sec.apply(&cfg); err != nil {
		return nil, err
	}
	return collector.TrustOf(cfg.TLS, cfg.Admit)
}

// importAnswer is what the daemon answers; with an error a part may be done.
type importAnswer struct {
	Report collector.ImportReport `json:"report,omitzero"`
	Error  string                 `json:"error,omitempty"`
	Later  bool                   `json:"later,omitempty"` // the same may succeed another time
}

func (a *importAnswer) err() error {
	switch {
	case a.Error == "":
		return nil
	case a.Later:
		return daemon.WithCode(daemon.TryLater, errors.New(a.Error))
	}
	return errors.New(a.Error)
}

// addImport defines how the daemon imports.
func addImport(mux *http.ServeMux, srv *collector.Server) {
	mux.Handle("POST /import", control.HandleUpload(func(ctx context.Context, q url.Values, from io.Reader) (importAnswer, error) {
		o := collector.ImportOptions{
			DryRun: q.Get("dry-run") == "true", DeclareLost: q.Get("declare-lost") == "true", Unsigned: q.Get("unsigned") == "true",
		}
		report, err := srv.Import(ctx, from, o)
		answer := importAnswer{Report: report}
		if err != nil {
			answer.Error, answer.Later = err.Error(), !refusedImport(err)
		}
		return answer, nil
	}))
}

// refusedImport reports whether an error is the file's.
func refusedImport(err error) bool {
	for _, e := range []error{collector.ErrCarryFile, collector.ErrUnproven, collector.ErrOtherStore, collector.ErrGap, collector.ErrMemory} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// writeReceipt writes the receipt's file.
func writeReceipt(path string, r *collector.ImportReport, stderr io.Writer) error {
	if r.Receipt == nil {
		return nil
	}
	if err := durable.WriteFile(path, r.Receipt, 0o644); err != nil {
		return fmt.Errorf("everything is imported, but the receipt could not be written: %w; import again with --receipt FILE, that stores nothing twice", err)
	}
	_, err := fmt.Fprintf(stderr, "receipt: %s; for the agent: agent queue receipt %s\n", path, path)
	return err
}

// printImported writes what was done, or would be.
func printImported(w io.Writer, r *collector.ImportReport, dry, asJSON bool) error {
	if asJSON {
		shown := *r
		shown.Receipt = nil
		return daemon.PrintJSON(w, shown)
	}
	var b strings.Builder
	done := "stored"
	if dry {
		done = "would be stored"
	}
	for i := range r.Streams {
		s := &r.Streams[i]
		fmt.Fprintf(&b, "agent %s, lane %s, epoch %s: %d messages %s, %d dropped or declared, %d known; up to %d of %d", r.Agent, s.Lane, s.Epoch.String()[:8], s.Stored, done, s.Tombstoned, s.Known, s.W, s.Last)
		if s.Forked {
			b.WriteString("; rolled back: they go on in a new epoch, the folder was put back or is a copy")
		}
		if s.Rejected > 0 {
			fmt.Fprintf(&b, "; number %d is refused for good (%s)", s.Rejected, config.Printable(s.Why))
		}
		if s.Held {
			b.WriteString("; waits for the stream before it")
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
