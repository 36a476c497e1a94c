package service

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// notes is a service manager that writes down what it is told.
type notes struct {
	calls []string
	there bool             // the service is
	fails map[string]error // by call
}

func (n *notes) note(call string, args ...any) error {
	n.calls = append(n.calls, strings.TrimSpace(call+" "+fmt.Sprintln(args...)))
	return n.fails[call]
}

func (n *notes) put(r *registration) (bool, error) {
	return !n.there, n.note("put", r.name, r.account, r.program, r.args)
}
func (n *notes) remove(name string) error        { return n.note("remove", name) }
func (n *notes) delayStart(name string) error    { return n.note("delayStart", name) }
func (n *notes) setServiceSID(name string) error { return n.note("setServiceSID", name) }
func (n *notes) setRecovery(name string, delays []time.Duration, calm time.Duration) error {
	return n.note("setRecovery", name, delays, calm)
}
func (n *notes) recoverFromErrors(name string) error { return n.note("recoverFromErrors", name) }
func (n *notes) setPreShutdown(name string, d time.Duration) error {
	return n.note("setPreShutdown", name, d)
}
func (n *notes) setPrivileges(name string, list []string) error {
	return n.note("setPrivileges", name, list)
}
func (n *notes) setEventSource(name string) error { return n.note("setEventSource", name) }

// Windows is told of all settings: wine knows few of them, so that this is what
// proves the others.
func TestWindowsIsToldAll(t *testing.T) {
	var n notes
	if err := sample.registration().apply(&bytes.Buffer{}, &n); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`put fieldpost-agent NT SERVICE\fieldpost-agent /usr/bin/fieldpost-agent [service host run --config /etc/fieldpost/agent.yaml]`,
		"delayStart fieldpost-agent",
		"setServiceSID fieldpost-agent",
		"setRecovery fieldpost-agent [1s 5s 1m0s] 1h0m0s",
		"recoverFromErrors fieldpost-agent",
		"setPreShutdown fieldpost-agent 25s",
		"setPrivileges fieldpost-agent [SeChangeNotifyPrivilege]",
		"setEventSource fieldpost-agent",
	}
	if !slices.Equal(n.calls, want) {
		t.Errorf("calls:\n%s", strings.Join(n.calls, "\n"))
	}
}

func TestAServiceWithHalfOfItsSettingsDoesNotStay(t *testing.T) {
	for _, there := range []bool{false, true} {
		broken := errors.New("no")
		n := notes{there: there, fails: map[string]error{"recoverFromErrors": broken}}
		if err := sample.registration().apply(&bytes.Buffer{}, &n); !errors.Is(err, broken) || !strings.Contains(err.Error(), "recovery from errors") {
			t.Errorf("error %v", err)
		}
		if removed := n.calls[len(n.calls)-1] == "remove fieldpost-agent"; removed == there {
			t.Errorf("there before: %t, removed: %t", there, removed)
		}
	}
}

func TestASettingThatTheSystemDoesNotKnowIsTold(t *testing.T) {
	n := notes{fails: map[string]error{"setPrivileges": errNoSetting}}
	var b bytes.Buffer
	if err := sample.registration().apply(&b, &n); err != nil || !strings.Contains(b.String(), "not set: the service's privileges") {
		t.Errorf("%v, %q", err, &b)
	}
	if n.calls[len(n.calls)-1] != "setEventSource fieldpost-agent" {
		t.Errorf("calls:\n%s", strings.Join(n.calls, "\n"))
	}
}

// The SID of TrustedInstaller is the same on every Windows.
func TestServiceSID(t *testing.T) {
	const want = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
	if got := serviceSID("TrustedInstaller"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Nobody but the system, the administrators and the services has any right.
func TestAccessNamesNobodyElse(t *testing.T) {
	a, c := serviceSID("fieldpost-agent"), serviceSID("fieldpost-collector")
	for _, test := range []struct{ got, want string }{
		{homeAccess("fieldpost-agent", "fieldpost-collector"), "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;;FRFX;;;" + a + ")(A;;FRFX;;;" + c + ")"},
		{dataAccess("fieldpost-agent"), "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1301ff;;;" + a + ")"},
		{configAccess("fieldpost-collector"), "D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FR;;;" + c + ")"},
	} {
		if test.got != test.want {
			t.Errorf("got  %s\nwant %s", test.got, test.want)
		}
	}
}
