package main

import (
	"context"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/doctor"
)

// parts are what a bundle has of an agent beside the report. They choose their fields:
// no message, topic, command or name of a source is among them.
func (e *examination) parts() []doctor.Part {
	return []doctor.Part{
		{Name: "status.json", What: "agent status: the link, the lanes, the inputs by kind", Get: e.statusPart},
		{Name: "queue.json", What: "agent queue ls: lanes, streams and files by number, no messages", Get: e.queuePart},
		{Name: "verify.json", What: "agent queue verify: what is damaged, by file and number", Get: e.verifyPart},
	}
}

// inputFacts are an input without what it is called, reads or runs.
type inputFacts struct {
	Kind     string    `json:"kind"`
	State    string    `json:"state"`
	Sources  int       `json:"sources"`
	Messages uint64    `json:"messages"`
	Bytes    uint64    `json:"bytes"`
	Behind   int64     `json:"behind_bytes"`
	LastRead time.Time `json:"last_read,omitzero"`
	Trouble  bool      `json:"trouble"`
}

func (e *examination) statusPart(context.Context) (any, error) {
	st, err := e.status()
	out := struct {
		Agent  agent.Status `json:"agent"`
		Inputs []inputFacts `json:"inputs"`
	}{Agent: st.Status}
	for i := range st.Inputs {
		in := &st.Inputs[i]
		out.Inputs = append(out.Inputs, inputFacts{in.Kind, in.State, in.Count, in.Messages, in.Bytes, in.Behind, in.LastRead, in.Trouble != ""})
	}
	return out, err
}

func (e *examination) queuePart(context.Context) (any, error) {
	list, err := e.lanes()
	for i := range list.Lanes {
		for k := range list.Lanes[i].Streams {
			tombstones := list.Lanes[i].Streams[k].Tombstones
			for n := range tombstones {
				tombstones[n].Detail = "" // the store's or an operator's words about messages
			}
		}
	}
	return list, err
}

func (e *examination) verifyPart(ctx context.Context) (any, error) {
	id, lanes, err := agent.ReadLanes(e.cfg.Dir)
	if err != nil {
		return nil, err
	}
	list := []agent.Verified{}
	for _, lane := range lanes {
		v, err := agent.Verify(ctx, e.cfg.Dir, id, lane, nil)
		if err != nil {
			return list, err
		}
		list = append(list, v)
	}
	return list, nil
}
