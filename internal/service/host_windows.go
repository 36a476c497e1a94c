package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"

	"github.com/fieldpost/fieldpost/internal/daemon"
)

// platformCommands returns the commands that only Windows has.
func platformCommands(s Setup) []*cobra.Command {
	return []*cobra.Command{hosting(s), upgradeCommand(s.Daemon)}
}

// hosting is the command that the service manager starts.
func hosting(s Setup) *cobra.Command {
	return &cobra.Command{
		Use:                hostCommand + " ARGUMENT...",
		Short:              "Run a command of this program for Windows' service manager",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			// What a console says, as at somebody's logoff, is not for a service.
			signal.Ignore(os.Interrupt, syscall.SIGTERM)
			log, closeLog := openEvents(s.Daemon.Name)
			defer closeLog()
			defer catchCrash(s.Daemon.Data, log)()
			h := &host{log: log, work: func(ctx context.Context) daemon.Code {
				return daemon.Run(ctx, s.Root(), args, strings.NewReader(""), io.Discard, log)
			}}
			err := svc.Run(s.Daemon.Name, h)
			if errors.Is(err, windows.ERROR_FAILED_SERVICE_CONTROLLER_CONNECT) {
				return daemon.WithCode(daemon.Usage, errors.New("only Windows' service manager can start this; \"service start\" asks it to"))
			}
			return err
		},
	}
}

// host is a daemon as the service manager sees it.
type host struct {
	log  *events
	work func(ctx context.Context) daemon.Code // ends soon after ctx
}

// waitHint is how long the service manager is to wait for the next word.
const waitHint = uint32(10 * hintEvery / time.Millisecond)

// Execute is svc.Handler's. It says that the service runs before any work is begun:
// a queue with a large backlog may take longer to open than the 30 s the service
// manager waits.
func (h *host) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (specific bool, code uint32) {
	const accepts = svc.AcceptStop | svc.AcceptShutdown | svc.AcceptPreShutdown
	now := svc.Status{State: svc.Running, Accepts: accepts}
	status <- now
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan daemon.Code, 1)
	go func() { ended <- h.work(ctx) }()
	var hints <-chan time.Time
	var limit <-chan time.Time
	for {
		select {
		case code := <-ended:
			return end(code, limit != nil)
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				status <- now
			case svc.Stop, svc.Shutdown, svc.PreShutdown:
				if limit != nil {
					break // it is at it
				}
				stop()
				now = svc.Status{State: svc.StopPending, WaitHint: waitHint}
				status <- now
				limit = time.After(closeWithin)
				ticker := time.NewTicker(hintEvery)
				defer ticker.Stop()
				hints = ticker.C
			}
		case <-hints:
			now.CheckPoint++
			status <- now
		case <-limit: // what was accepted is on disk
			h.log.to.Error(eventError, fmt.Sprintf("the service did not stop within %s and is ended as a kill would end it; what was accepted is on disk", closeWithin))
			return true, uint32(daemon.No)
		}
	}
}

// end is how a service tells that its daemon has ended. One that ends without being
// asked has failed, whatever it says: only so is it started again.
func end(code daemon.Code, asked bool) (specific bool, number uint32) {
	switch {
	case code != daemon.OK:
		return true, uint32(code)
	case !asked:
		return true, uint32(daemon.No)
	}
	return false, 0
}

// openEvents opens the Event Log. Where that cannot be had, what is said is lost.
func openEvents(name string) (*events, func()) {
	l, err := eventlog.Open(name)
	if err != nil {
		return &events{silent{}}, func() {}
	}
	return &events{l}, func() { l.Close() }
}

// silent is an Event Log that nobody reads.
type silent struct{}

func (silent) Info(uint32, string) error    { return nil }
func (silent) Warning(uint32, string) error { return nil }
func (silent) Error(uint32, string) error   { return nil }

// catchCrash has the next crash of this process written to a file in dir, because a
// service's standard error goes nowhere, and says what the last one has left there.
// The caller calls end.
func catchCrash(dir string, log *events) (end func()) {
	path := filepath.Join(dir, "crash.log")
	if last, err := os.ReadFile(path); err == nil && len(last) > 0 {
		log.to.Warning(eventWarning, "the last process of this service crashed; this is kept in "+path+".old:\r\n"+message(last))
		if err := os.Rename(path, path+".old"); err != nil {
			log.to.Warning(eventWarning, "the crash of the last process could not be put aside: "+err.Error())
		}
	}
	f, err := os.Create(path)
	if err != nil { // the daemon will say more about its folder
		return func() {}
	}
	if err := debug.SetCrashOutput(f, debug.CrashOptions{}); err != nil {
		log.to.Warning(eventWarning, "a crash of this process will leave no trace: "+err.Error())
	}
	return func() {
		debug.SetCrashOutput(nil, debug.CrashOptions{})
		f.Close()
	}
}
