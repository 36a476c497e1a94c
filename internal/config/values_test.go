package config

import (
	"math"
	"testing"
	"time"
)

func TestSize(t *testing.T) {
	for _, c := range []struct {
		text  string
		size  Size
		print string
	}{
		{"0", 0, "0"}, {"1", 1, "1"}, {"1023", 1023, "1023"}, {"17B", 17, "17"},
		{"1024", 1024, "1KiB"}, {"10MiB", 10 << 20, "10MiB"}, {"10 MiB", 10 << 20, "10MiB"},
		{"512KB", 512000, "500KiB"}, {"3MB", 3e6, "3MB"}, {"2GiB", 2 << 30, "2GiB"}, {"1TB", 1e12, "1TB"},
		{"2048KiB", 2 << 20, "2MiB"}, {"9223372036854775807", math.MaxInt64, "9223372036854775807"},
	} {
		got, err := ParseSize(c.text)
		if err != nil || got != c.size || got.String() != c.print {
			t.Errorf("ParseSize(%q) = %d %s, %v; want %d %s", c.text, got, got, err, c.size, c.print)
		}
		if back, err := ParseSize(got.String()); err != nil || back != got {
			t.Errorf("%q prints %s, which parses as %d, %v", c.text, got, back, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "+1", "1.5GiB", "10K", "10m", "1 2", "9223372036854775808", "9007199254740992KiB", "10MiBB", " 1", "1_000", "0x10"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, got)
		}
	}
}

func TestApproximate(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0B", 1023: "1023B", 1024: "1.00KiB", 1536: "1.50KiB", 10 << 20: "10.0MiB", 1023 << 20: "1023MiB", 300 << 30: "300GiB", 1 << 60: "1048576TiB",
	} {
		if got := Approximate(n); got != want {
			t.Errorf("Approximate(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for _, c := range []struct {
		text  string
		want  time.Duration
		print string
	}{
		{"5s", 5 * time.Second, "5s"}, {"1m30s", 90 * time.Second, "1m30s"}, {"60s", time.Minute, "1m"},
		{"24h", 24 * time.Hour, "24h"}, {"90m", 90 * time.Minute, "1h30m"}, {"200ms", 200 * time.Millisecond, "200ms"},
		{"0", 0, "0s"}, {"1.5s", 1500 * time.Millisecond, "1.5s"}, {"10h10s", 10*time.Hour + 10*time.Second, "10h0m10s"}, {"20m", 20 * time.Minute, "20m"},
	} {
		got, err := ParseDuration(c.text)
		if err != nil || time.Duration(got) != c.want || got.String() != c.print {
			t.Errorf("ParseDuration(%q) = %s, %v; want %s", c.text, got, err, c.print)
		}
		if back, err := ParseDuration(got.String()); err != nil || back != got {
			t.Errorf("%q prints %s, which parses as %d, %v", c.text, got, back, err)
		}
	}
	for _, text := range []string{"", "5", "-5s", "5 s", "5d", "s", "1e3", "soon"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %s, want an error", text, got)
		}
	}
}

func TestExpand(t *testing.T) {
	vars := env(map[string]string{"A": "one", "_b2": "two", "EMPTY": "", "LOOP": "${A}"})
	for text, want := range map[string]string{
		"": "", "plain": "plain", "${A}": "one", "x${A}y${_b2}z": "xoneytwoz",
		"${NO:-d}": "d", "${NO:-}": "", "${EMPTY}": "", "${EMPTY:-d}": "d", "${A:-d}": "one",
		"$$": "$", "$${A}": "${A}", "$A": "$A", "5$": "5$", "$ $": "$ $", "$$$$": "$$",
		"${LOOP}": "${A}", "${NO:-$$}": "$$", "${NO:-a:-b}": "a:-b",
	} {
		if got, err := expand(text, vars); err != nil || got != want {
			t.Errorf("expand(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"${NO}", "${", "${A", "${}", "${1A}", "${A-b}", "${ A}", "${A:b}", "a${NO}b"} {
		if got, err := expand(text, vars); err == nil {
			t.Errorf("expand(%q) = %q, want an error", text, got)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, ok := range []string{"127.0.0.1:4717", "127.9.9.9:1", "[::1]:4717", "localhost:65535", "LOCALHOST:1", "127.0.0.1:0", ":4717", "0.0.0.0:4717", "[::]:1", "192.168.1.1:4717", "example.org:4717"} {
		if _, err := ParseListenAddress(ok); err != nil {
			t.Errorf("listen on %s: %v", ok, err)
		}
	}
	for _, bad := range []string{"", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:x", "local host:1"} {
		if _, err := ParseListenAddress(bad); err == nil {
			t.Errorf("listen on %q has no error", bad)
		}
	}
	for _, bad := range []string{"127.0.0.1:0", ":4717"} {
		if _, err := ParseCollectorAddress(bad); err == nil {
			t.Errorf("a collector at %s has no error", bad)
		}
	}
	if s, err := ParseHTTPAddress("off"); s != "" || err != nil {
		t.Errorf("http off: %q, %v", s, err)
	}
}
