package service

import (
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf16"
)

// registration is what Windows' service manager is told of a daemon.
type registration struct {
	name        string
	description string
	program     string   // path of the executable
	args        []string // of the executable
	account     string   // it runs under

	recovery []time.Duration // delays before the first, second, ... start again; the last is for all that follow
	calm     time.Duration   // after so long without a failure the first delay counts again

	preShutdown time.Duration // how long the machine waits for it when it shuts down
	privileges  []string      // it keeps; all others are taken away before it starts
}

// hostCommand is the command that runs a daemon for Windows' service manager: the
// arguments behind it are the daemon's own.
const hostCommand = "host"

// How a service ends on Windows.
const (
	closeWithin = 20 * time.Second // from a stop to the end of the process, at most
	hintEvery   = time.Second      // so often a stopping service says that it is alive
)

// registration returns what Windows is told of d.
func (d *Daemon) registration() *registration {
	return &registration{
		name: d.Name, description: d.Description,
		program: d.Program, args: append([]string{"service", hostCommand}, d.Args...),
		account:     virtualAccount(d.Name),
		recovery:    []time.Duration{time.Second, 5 * time.Second, time.Minute},
		calm:        time.Hour,
		preShutdown: closeWithin + 5*time.Second,
		privileges:  []string{"SeChangeNotifyPrivilege"}, // to pass through folders it may not list
	}
}

// virtualAccount names the account that Windows makes for a service by itself: it
// has no password, and no rights but those it is given.
func virtualAccount(service string) string { return `NT SERVICE\` + service }

// errNoSetting is returned by a registrar that does not know a setting.
var errNoSetting = errors.New("this system has no such setting")

// registrar takes a registration, as Windows' service manager does. Each call is for
// the service of that name.
type registrar interface {
	// put makes the service, a process of its own that starts with the machine, or
	// gives the one that is there these settings.
	put(r *registration) (made bool, err error)
	remove(name string) error
	// delayStart lets it start after what the machine needs to be used.
	delayStart(name string) error
	// setServiceSID gives its processes the SID that serviceSID returns.
	setServiceSID(name string) error
	// setRecovery says what follows a failure: a start again after the delay.
	setRecovery(name string, delays []time.Duration, calm time.Duration) error
	// recoverFromErrors makes an end with an error a failure too, not only a crash.
	recoverFromErrors(name string) error
	setPreShutdown(name string, d time.Duration) error
	setPrivileges(name string, list []string) error
	// setEventSource registers the name as a source of the Application log.
	setEventSource(name string) error
}

// apply registers the service. If that fails a service that it has made is removed
// again, so that none starts with half of its settings. What the system does not
// know is told to w and passed over: every Windows since 7 knows all of it.
func (r *registration) apply(w io.Writer, to registrar) error {
	made, err := to.put(r)
	if err != nil {
		return fmt.Errorf("make the service: %w", err)
	}
	for _, s := range []struct {
		what string
		do   func() error
	}{
		{"delayed start", func() error { return to.delayStart(r.name) }},
		{"SID", func() error { return to.setServiceSID(r.name) }},
		{"recovery actions", func() error { return to.setRecovery(r.name, r.recovery, r.calm) }},
		{"recovery from errors", func() error { return to.recoverFromErrors(r.name) }},
		{"time for a shutdown", func() error { return to.setPreShutdown(r.name, r.preShutdown) }},
		{"privileges", func() error { return to.setPrivileges(r.name, r.privileges) }},
		{"source of events", func() error { return to.setEventSource(r.name) }},
	} {
		err = s.do()
		if errors.Is(err, errNoSetting) {
			fmt.Fprintf(w, "  not set: the service's %s; %v\n", s.what, err)
			err = nil
		}
		if err != nil {
			err = fmt.Errorf("set the service's %s: %w", s.what, err)
			break
		}
	}
	if err != nil && made {
		err = errors.Join(err, to.remove(r.name))
	}
	return err
}

// serviceSID returns the SID of a service's virtual account. Windows makes it from
// the name alone, so it can be written into lists of rights before there is a
// service.
func serviceSID(name string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(strings.ToUpper(name))) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	sum := sha1.Sum(b)
	sid := "S-1-5-80"
	for part := sum[:]; len(part) > 0; part = part[4:] {
		sid += fmt.Sprint("-", binary.LittleEndian.Uint32(part))
	}
	return sid
}

// Lists of rights, as SDDL writes them: protected from what the folder above says
// (P), given on to what is made inside (OICI), for the system (SY) and the
// administrators (BA).
const forAdministrators = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"

// dataAccess is for a folder that is a service's own: it may do all there but say who
// else may do what.
func dataAccess(service string) string {
	return fmt.Sprintf("%s(A;OICI;0x1301ff;;;%s)", forAdministrators, serviceSID(service))
}

// configAccess is for a file that services may read.
func configAccess(service string) string {
	return fmt.Sprintf("D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FR;;;%s)", serviceSID(service))
}

// homeAccess is for the folder that holds those: services may list it, which is not
// given on.
func homeAccess(services ...string) string {
	list := forAdministrators
	for _, s := range services {
		list += fmt.Sprintf("(A;;FRFX;;;%s)", serviceSID(s))
	}
	return list
}
