package doctor

import "testing"

func TestEventLines(t *testing.T) {
	const text = "Event[0]:\r\n  Log Name: Application\r\n  Source: fieldpost-agent\r\n  Date: 2026-11-22T10:00:02.0000000Z\r\n  Description: \r\nmsg=\"no link\" cause=timeout\r\n\r\n" +
		"Event[1]:\r\n  Date: 2026-11-22T10:00:01.0000000Z\r\n  Description: \r\nmsg=\"the agent is open\" id=pump-7\r\n"
	const want = "2026-11-22T10:00:01.0000000Z msg=\"the agent is open\" id=pump-7\n2026-11-22T10:00:02.0000000Z msg=\"no link\" cause=timeout\n"
	if got := string(eventLines(text)); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
