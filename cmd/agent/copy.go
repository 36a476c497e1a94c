package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/input/lines"
	"github.com/fieldpost/fieldpost/wire"
)

// sender is what a copier needs of an agent.
type sender interface {
	// SendBatch puts all messages on disk or none; see [agent.Agent.SendBatch].
	SendBatch(ctx context.Context, list []agent.Message) error
}

// copier hands the lines of a source to an agent, in order. One goroutine reads
// and fills a batch while the other has the batch before it put on disk, so the
// disk always has work, and a batch grows to what arrives during one commit.
//
// Batches go one after another, each again until it is accepted: with single
// messages on their way, one that is accepted after a refused one would overtake
// it.
type copier struct {
	to          sender
	src         source
	lines       *lines.Reader
	lane, topic string // lane: by the routes of the start, if none is named
	named       string // the lane that the messages name, "": by the routes
	log         *slog.Logger

	mu    sync.Mutex
	moved sync.Cond // something below has changed
	next  *batch    // being filled by the reader
	ended bool      // the reader is done
	stop  bool      // the sender has failed: the reader may leave

	// Owned by the reader until it is done.
	tooLong  int64
	fragment int   // bytes of a line that was begun when it was interrupted
	readErr  error // what ended it besides the end of the source

	// Owned by the sender.
	accepted, uncertain, dropped int64
}

// The most that a batch has; one line may go beyond the bytes.
const (
	batchLines = 4096
	batchBytes = 1 << 20
)

// batch is lines, one after another in buf.
type batch struct {
	first int64 // number of the first line
	buf   []byte
	ends  []int
	times []time.Time
}

func (b *batch) full() bool { return len(b.ends) >= batchLines || len(b.buf) >= batchBytes }

func (b *batch) reset() { b.buf, b.ends, b.times = b.buf[:0], b.ends[:0], b.times[:0] }

// messages returns the batch's lines as messages that point into it.
func (b *batch) messages(dst []agent.Message, lane, topic string) []agent.Message {
	from := 0
	for i, end := range b.ends {
		dst = append(dst, agent.Message{Lane: lane, Topic: topic, Time: b.times[i], Body: b.buf[from:end:end]})
		from = end
	}
	return dst
}

// newCopier returns a copier of src's lines to one lane, all with one topic.
func newCopier(to sender, src source, lane, topic string, log *slog.Logger) *copier {
	// The limit is of a whole record: find what one without a body takes.
	encoded, _ := wire.AppendRecord(nil, &wire.Message{Topic: topic, Time: time.Unix(1, 0)}) // the topic has been checked
	head, _, _ := wire.NextRecord(encoded)
	c := &copier{to: to, src: src, lane: lane, named: lane, topic: topic, log: log, next: &batch{}}
	c.lines = lines.NewReader(src, wire.MaxRecord-len(head))
	c.moved.L = &c.mu
	return c
}

// run copies until the source ends, is interrupted by ctx's end, or the agent
// fails for good. It returns nil at the source's end; errInterrupted; or what
// failed. The counts are good after it. After ctx's end it goes on until what was
// read is handed in, but not beyond the end of last.
func (c *copier) run(ctx, last context.Context) error {
	defer context.AfterFunc(ctx, c.src.Interrupt)()
	var reader sync.WaitGroup
	reader.Go(c.read)
	err := c.send(ctx, last)
	c.mu.Lock()
	c.stop = true
	c.moved.Broadcast()
	c.mu.Unlock()
	if err != nil {
		c.src.Interrupt()
	}
	reader.Wait()
	if err != nil {
		return err
	}
	return c.readErr
}

// read fills batches until there is nothing more to read.
func (c *copier) read() {
	defer func() {
		c.mu.Lock()
		c.ended = true
		c.moved.Broadcast()
		c.mu.Unlock()
	}()
	finishing := false
	for {
		line, err := c.lines.Next()
		var long *lines.TooLong
		switch {
		case err == nil:
			if !c.add(line) {
				return
			}
		case errors.As(err, &long):
			c.tooLong++
			c.log.Error("a line is too long for a message and was passed over", "line", long.Line, "limit_bytes", long.Limit)
		case err == io.EOF:
			return
		case errors.Is(err, errInterrupted) && !finishing && c.lines.Partial() > 0:
			finishing = true // the line that has begun is read to its end
			continue
		default:
			c.readErr, c.fragment = err, c.lines.Partial()
			return
		}
		if finishing {
			c.readErr = errInterrupted
			return
		}
	}
}

// add puts a line into the batch that is being filled; false if the sender has
// failed.
func (c *copier) add(line []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.next.full() && !c.stop {
		c.moved.Wait()
	}
	b := c.next
	if len(b.ends) == 0 {
		b.first = c.lines.Line()
	}
	b.buf = append(b.buf, line...)
	b.ends = append(b.ends, len(b.buf))
	b.times = append(b.times, time.Now())
	if len(b.ends) == 1 || b.full() {
		c.moved.Broadcast()
	}
	return !c.stop
}

// take exchanges the batch that is being filled for an empty one; false if
// nothing will come any more.
func (c *copier) take(empty *batch) (*batch, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.next.ends) == 0 && !c.ended {
		c.moved.Wait()
	}
	if len(c.next.ends) == 0 {
		return nil, false
	}
	b := c.next
	c.next = empty
	c.moved.Broadcast()
	return b, true
}

// send hands batches to the agent until the reader is done.
func (c *copier) send(ctx, last context.Context) error {
	empty := &batch{}
	var list []agent.Message
	for {
		b, ok := c.take(empty)
		if !ok {
			return nil
		}
		list = b.messages(list[:0], c.named, c.topic)
		if err := c.put(ctx, last, b.first, list); err != nil {
			return err
		}
		b.reset()
		empty = b
	}
}

// put hands one batch to the agent, again and again while the lane is full. first
// is the number of its first line.
func (c *copier) put(ctx, last context.Context, first int64, list []agent.Message) error {
	const shortest, longest = 50 * time.Millisecond, 5 * time.Second
	told := time.Time{}
	for delay := shortest; ; delay = min(2*delay, longest) {
		err := c.to.SendBatch(last, list)
		n := int64(len(list))
		switch {
		case err == nil:
			c.accepted += n
			if !told.IsZero() {
				c.log.Info("the queue takes messages again")
			}
			return nil
		case errors.Is(err, agent.ErrDropped):
			c.dropped += n
			return nil
		case errors.Is(err, agent.ErrUncertain) && last.Err() == nil:
			// What is in doubt is delivered once if it is there. Handing it in again
			// could double it, so the doubt is told and the rest goes on.
			c.uncertain += n
			c.log.Error("it is unknown whether these lines are on disk; if they are, they are delivered", "first_line", first, "lines", n, "err", err)
			return nil
		case errors.Is(err, agent.ErrTooLarge) && len(list) > 1: // more than the lane may hold
			half := len(list) / 2
			if err := c.put(ctx, last, first, list[:half]); err != nil {
				return err
			}
			return c.put(ctx, last, first+int64(half), list[half:])
		case !errors.Is(err, agent.ErrFull):
			if errors.Is(err, agent.ErrUncertain) {
				c.uncertain += n
			}
			return fmt.Errorf("lines from %d on: %w", first, err)
		case ctx.Err() != nil: // nobody waits for room during a shutdown
			return fmt.Errorf("lines from %d on were read and not accepted: %w", first, err)
		}
		if now := time.Now(); now.Sub(told) > time.Minute {
			told = now
			c.log.Warn("the queue is full: reading pauses until there is room", "err", err)
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done(): // once more, then out
		}
	}
}
