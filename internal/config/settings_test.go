package config

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/internal/table"
)

// setting is a row of the table of settings.
type setting struct {
	key, value, fallback, change, meaning string
}

// All settings are there since the first version; one that comes later says so here.
var since = map[string]string{}

const (
	live    = "reload"
	restart = "restart"
)

var agentSettings = []setting{
	{"id", "name, 1 to 64 of A-Z a-z 0-9 . _ -", "the host's name", "never", "whose folder it is; stored in dir and then fixed"},
	{"dir", "path", "fieldpost-agent", restart, "folder of the queue"},
	{"collectors", "list of host:port", "that of the enrolment", live, "tried in turn"},
	{"lanes.NAME.priority", "-100 to 100", "0", live, "on the link higher ones overtake lower ones"},
	{"lanes.NAME.share", "1% to 90%", "10%", live, "of the link, kept beside lanes of higher priority"},
	{"lanes.NAME.max_bytes", "size, from 512KiB", "no limit", live, "on disk"},
	{"lanes.NAME.max_messages", "number, from 1", "no limit", live, "without an ack"},
	{"lanes.NAME.max_age", "duration, from 1s", "no limit", live, "older messages are dropped: expired"},
	{"lanes.NAME.free_space", "size; 0: it may fill up", "5 % of the disk, at most 512MiB", live, "of the disk, that stays free"},
	{"lanes.NAME.overflow", "reject, block, drop-oldest, drop-newest", "reject", live, "what becomes of a message when the lane is full"},
	{"lanes.NAME.durability", "always, \"interval D\" with D from 10ms to 1h", "always", live, "an interval loses what was accepted in it in a crash"},
	{"lanes.NAME.live_first", "duration, from 1s", "never", live, "after a longer outage new messages go ahead of the backlog"},
	{"lanes.NAME.compression", "none, s2, zstd", "none", live, "on disk, on the link, in the journal"},
	{"lanes.NAME.segment_size", "size, 64KiB to 1GiB", "64MiB", live, "of a file, before the next is begun"},
	{"routes[].topic", "filter as in MQTT", "needed", live, "the first that matches a message's topic wins"},
	{"routes[].lane", "lane", "needed", live, "where the message goes"},
	{"inputs[].stdin.topic", "topic", "none", restart, "of the lines of standard input"},
	{"inputs[].stdin.lane", "lane", "by the routes", restart, "where they go"},
	{"inputs[].file.paths", "list of patterns", "needed", live, "files that are followed"},
	{"inputs[].file.exclude", "list of patterns", "none", live, "of them, those that are not"},
	{"inputs[].file.topic", "topic; {file}, {path}", "none", live, "of the lines"},
	{"inputs[].file.lane", "lane", "by the routes", live, "where they go"},
	{"inputs[].file.start", "beginning, end", "beginning", live, "of files that are there at first"},
	{"inputs[].file.multiline.start", "regular expression", "none", live, "what the first line of a message looks like"},
	{"inputs[].file.multiline.continue", "regular expression", "none", live, "what the others look like; one of both"},
	{"inputs[].file.max_line", "size, 64 to 1MiB", "1MiB with its topic", live, "longer messages are cut there"},
	{"inputs[].file.flush", "duration, 100ms to 24h", "10s", live, "how long a quiet file's unfinished end is waited for"},
	{"inputs[].host.topic", "topic", "host/metrics", live, "of samples of the machine"},
	{"inputs[].host.lane", "lane", "by the routes", live, "where they go"},
	{"inputs[].host.interval", "duration, 1s to 24h", "1m", live, "between them"},
	{"inputs[].host.only", "list of cpu, memory, disk, network, load", "all", live, "what is in them"},
	{"inputs[].exec.command", "list of words", "needed", live, "program and arguments whose lines are read"},
	{"inputs[].exec.dir", "path", "the daemon's", live, "where it runs"},
	{"inputs[].exec.interval", "duration, 1s to 720h", "it is kept running", live, "between two runs"},
	{"inputs[].exec.timeout", "duration, 100ms to 720h", "none", live, "of a run"},
	{"inputs[].exec.topic", "topic", "none", live, "of its lines"},
	{"inputs[].exec.lane", "lane", "by the routes", live, "where they go"},
	{"heartbeat.interval", "duration, 100ms to 1h", "what the collector says", live, "in which both sides show that they live"},
	{"http", "host:port on the loopback, off", "off", restart, "/metrics, /healthz, /readyz"},
	{"reconnect.min", "duration, 10ms to 1h", "500ms", live, "bound of the first delay, which is random"},
	{"reconnect.max", "duration, 10ms to 24h", "60s", live, "up to which the bound doubles"},
	{"reconnect.max_attempts", "number; 0: no limit", "0", live, "after so many failures in a row only every 10 min"},
	{"tls.ca", "path", "that of the enrolment", restart, "authorities of collectors' certificates; the file is read again by itself"},
	{"tls.cert", "path", "that of the enrolment", restart, "the agent's certificate; likewise"},
	{"tls.key", "path", "that of the enrolment", restart, "its key; likewise"},
	{"tls.server_name", "host name", "the address's host", restart, "in collectors' certificates"},
	{"insecure_plaintext", "true, false", "false", restart, "plain TCP, if the collector says so as well"},
	{"log.level", "debug, info, warn, error", "info", live, "what is logged"},
	{"log.format", "auto, text, json", "auto", restart, "auto: for people on a terminal, else text"},
}

var collectorSettings = []setting{
	{"listen", "host:port", "127.0.0.1:4717", restart, "where agents connect"},
	{"http", "host:port, off", "127.0.0.1:4718", restart, "/metrics, /healthz, /readyz; off the loopback with TLS and a bearer token"},
	{"dir", "path", "fieldpost-collector", restart, "folder of the journal"},
	{"replaces", "store id, list of them, any", "none", restart, "stores that this one stands in for; kept in dir"},
	{"heartbeat.interval", "duration, 100ms to 1h", "30s", live, "of agents that do not ask for one, for links from then on"},
	{"retention.age", "duration, from 1m", "for ever", live, "how long messages are kept"},
	{"retention.size", "size, from 16MiB", "no limit", live, "of the journal"},
	{"limits.agents", "number", "100000", restart, "agents that the store remembers"},
	{"limits.streams", "number", "4096", restart, "streams of one agent that it remembers"},
	{"tls.names", "list of names and addresses", "this machine's, of listen and http", restart, "more of them for the collector's own certificate"},
	{"tls.certificate_life", "duration, 10s to 9552h", "720h", restart, "of agents' certificates"},
	{"tls.ca", "path", "an authority of its own", restart, "authorities of agents' certificates; the file is read again by itself"},
	{"tls.cert", "path", "its own", restart, "the collector's certificate; likewise"},
	{"tls.key", "path", "its own", restart, "its key; likewise"},
	{"insecure_plaintext", "true, false", "false", restart, "plain TCP, for agents that say so as well"},
	{"agent_metrics", "true, false", "false", restart, "a few metrics for each agent: for fleets of some thousand"},
	{"log.level", "debug, info, warn, error", "info", live, "what is logged"},
	{"log.format", "auto, text, json", "auto", restart, "auto: for people on a terminal, else text"},
}

// known returns the keys that the decoder knows, by what it says of one that it does
// not, in each part of a file.
func known(t *testing.T, parse func(text string) error, parts map[string]string) map[string]bool {
	keys := map[string]bool{}
	for prefix, text := range parts {
		err := parse(strings.ReplaceAll(text, "?", "zzzzzzzzzzzz: 1"))
		if err == nil {
			t.Fatalf("%s: no error", text)
		}
		m := regexp.MustCompile(`zzzzzzzzzzzz: unknown key; known here: ([a-z_, ]+)`).FindStringSubmatch(err.Error())
		if m == nil {
			t.Fatalf("%s: %v", text, err)
		}
		for _, key := range strings.Split(m[1], ", ") {
			if _, part := parts[prefix+key+"."]; !part && prefix+key != "lanes" && prefix+key != "routes" && prefix+key != "inputs" {
				keys[prefix+key] = true
			}
		}
	}
	return keys
}

// The table of settings in the documents has each key that the decoders know, and no
// other.
func TestSettingsTable(t *testing.T) {
	env := func(string) (string, bool) { return "", false }
	for name, c := range map[string]struct {
		list  []setting
		parse func(string) error
		parts map[string]string // where keys are, as they are named in the list: a text with "?" for a key
	}{
		"agent-settings": {agentSettings, func(s string) error { _, err := ParseAgent("f", []byte(s), env); return err }, map[string]string{
			"": "?", "lanes.NAME.": "lanes: {x: {?}}", "routes[].": "routes: [{?}]", "inputs[].stdin.": "inputs: [{stdin: {?}}]", "inputs[].file.": "inputs: [{file: {?}}]",
			"inputs[].file.multiline.": "inputs: [{file: {multiline: {?}}}]", "inputs[].host.": "inputs: [{host: {?}}]", "inputs[].exec.": "inputs: [{exec: {?}}]",
			"inputs[].": "inputs: [{?}]", "heartbeat.": "heartbeat: {?}", "reconnect.": "reconnect: {?}", "tls.": "tls: {?}", "log.": "log: {?}",
		}},
		"collector-settings": {collectorSettings, func(s string) error { _, err := ParseCollector("f", []byte(s), env); return err }, map[string]string{
			"": "?", "heartbeat.": "heartbeat: {?}", "retention.": "retention: {?}", "limits.": "limits: {?}", "tls.": "tls: {?}", "log.": "log: {?}",
		}},
	} {
		keys := known(t, c.parse, c.parts)
		text := table.Row("key", "value", "default", "since", "takes", "meaning") + table.Row("---", "---", "---", "---", "---", "---")
		for _, s := range c.list {
			if !keys[s.key] {
				t.Errorf("%s: there is no key %s", name, s.key)
			}
			delete(keys, s.key)
			first := since[s.key]
			if first == "" {
				first = "1.0"
			}
			text += table.Row("`"+s.key+"`", s.value, s.fallback, first, s.change, s.meaning)
		}
		if len(keys) > 0 {
			t.Errorf("%s has no row for %q", name, slices.Sorted(maps.Keys(keys)))
		}
		if err := table.Hold("../../docs/OPERATIONS.md", name, text); err != nil {
			t.Error(err)
		}
	}
}

// What the table says of reloads is what the daemons refuse by words.
func TestSettingsThatTakeARestart(t *testing.T) {
	for file, list := range map[string][]setting{"../../cmd/agent/reload.go": agentSettings, "../../cmd/collector/reload.go": collectorSettings} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			top, _, _ := strings.Cut(s.key, ".")
			if top == "inputs[]" || s.change == "never" {
				continue
			}
			if s.change == restart && !strings.Contains(string(b), strings.TrimSuffix(top, "[]")) {
				t.Errorf("%s does not speak of %s, which takes a restart", file, s.key)
			}
		}
	}
}
