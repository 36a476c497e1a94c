package main

import (
	"errors"
	"time"

	"github.com/spf13/pflag"

	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/internal/export"
	"github.com/fieldpost/fieldpost/wire"
)

// addFilter defines the flags that choose messages.
func addFilter(f *pflag.FlagSet, to *export.Filter) {
	f.Var(daemon.NewValue("ID", "", func(s string) (err error) { to.Agent, err = wire.ParseAgentID(s); return }),
		"agent", "only messages of this agent")
	f.Var(daemon.NewValue("LANE", "", func(s string) (err error) { to.Lane, err = wire.ParseLane(s); return }),
		"lane", "only messages of this lane")
	f.Var(daemon.NewValue("GLOB", "", func(s string) error {
		if to.Topic = export.Glob(s); s == "" {
			return errors.New("name a topic")
		}
		return nil
	}), "topic", "only messages with such a topic: * is any text within a level, ** any text,\n? one character, as in 'host/*'")
}

// addTimes defines --since and --until. Durations count back from now.
func addTimes(f *pflag.FlagSet, to *export.Filter, now time.Time) {
	f.Var(daemon.NewValue("TIME", "", func(s string) (err error) { to.Since, err = config.ParseTime(s, now); return }),
		"since", "only messages that the collector received at this time or later:\nRFC 3339, a date, or how long ago, as in 24h")
	f.Var(daemon.NewValue("TIME", "", func(s string) (err error) { to.Until, err = config.ParseTime(s, now); return }),
		"until", "only messages that it received before this time")
}

// lineHelp says what a line of tail and export is.
const lineHelp = `Each message is one line with a JSON object: agent, lane, epoch, seq, time, received,
topic, headers, body; body_base64 instead of body where it is not valid UTF-8. Of an
agent and a lane the lines come in the order in which they were sent.`
