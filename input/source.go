package input

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/agent"
)

// Chunk is a piece of a source, from where the one before ended.
type Chunk struct {
	Messages []agent.Message
	Ends     []int64 // where in the source each message ends; what is between two belongs to the second
	To       int64   // where the piece ends

	// Note returns what the input keeps with a position, at most MaxNote bytes: of
	// To, or of the end of one of the messages if the chunk has to be cut there. nil:
	// nothing is kept.
	Note func(to int64) []byte
}

// Source is one thing that is read. See [Feed.Source] for who may call what.
type Source struct {
	feed *Feed
	name string

	mu    sync.Mutex
	last  *record            // the last chunk that was begun; nil if there is none
	at    map[string]*record // what each lane has
	doubt map[string]bool    // lanes of a Send that failed: they may have what at does not say
	count Count
	full  error     // why a lane takes nothing now
	puts  int       // that are under way
	since time.Time // when the first of them began
}

// Count is what became of a source's messages since the feed was made.
type Count struct {
	Accepted, Dropped, TooLong uint64
	Last                       time.Time // of the last message that was accepted
}

// Name returns the source's name.
func (s *Source) Name() string { return s.name }

// Known reports whether the lanes remember the source.
func (s *Source) Known() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last != nil
}

// Position returns up to where the source has been read, and the note that was
// given with that. The caller must not change the note. While a chunk is not
// finished (see [Source.Settle]) it is that chunk's end.
func (s *Source) Position() (to int64, note []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		return 0, nil
	}
	return s.last.to, s.last.note
}

// Count returns what became of the source's messages, and why it waits: nil if it
// does not.
func (s *Source) Count() (Count, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count, s.full
}

// Settle finds out how the last chunk stands, after a crash or a call that failed,
// and returns how many bytes of it are not in their lanes; it comes before anything
// else then. If there are any, [Source.Resume] or [Source.Abandon] is next. It waits
// for lanes that cannot say, until ctx ends.
func (s *Source) Settle(ctx context.Context) (left int64, err error) {
	for _, lane := range slices.Sorted(maps.Keys(s.doubt)) {
		if err := s.barrier(ctx, lane); err != nil {
			return 0, fmt.Errorf("lane %s: %w", lane, err)
		}
	}
	if len(s.doubt) > 0 {
		if err := s.look(); err != nil {
			return 0, err
		}
	}
	return s.left(), nil
}

// look reads what the lanes in doubt have.
func (s *Source) look() error {
	all := s.feed.to.Checkpoints()
	s.mu.Lock()
	defer s.mu.Unlock()
	for lane := range s.doubt {
		for _, c := range all[lane] {
			if c.Source != s.name {
				continue
			}
			r, err := parseRecord(c.At)
			if err != nil {
				return fmt.Errorf("lane %s, source %.200q: %w", lane, s.name, err)
			}
			s.at[lane] = r
			if s.last == nil || s.last.n < r.n {
				s.last = r
			}
		}
	}
	s.doubt = nil
	return nil
}

// left returns how many bytes of the last chunk are not in their lanes.
func (s *Source) left() (n int64) {
	for lane := range s.missing() {
		for _, r := range s.last.of(lane, s.done(lane)) {
			n += r.to - r.from
		}
	}
	return n
}

// missing returns the lanes that do not have their part of the last chunk.
func (s *Source) missing() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := map[string]bool{}
	if s.last == nil {
		return list
	}
	for _, lane := range s.last.lanes {
		if r := s.at[lane]; r == nil || r.n < s.last.n || r.done < r.to {
			list[lane] = true
		}
	}
	return list
}

// done returns up to where a lane has its part of the last chunk.
func (s *Source) done(lane string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.at[lane]; r != nil && r.n == s.last.n {
		return r.done
	}
	return s.last.from
}

// Send puts a chunk into the lanes of its messages and returns nil once all of them
// have it. While a lane is full it waits. What a lane's policy drops counts as done,
// a message that no lane can hold is passed over; [Source.Count] counts both. Any
// other error means that the chunk may be in some lanes and not in others: go on by
// [Source.Settle], or leave it to the next start. Ends must grow.
func (s *Source) Send(ctx context.Context, c *Chunk) error {
	if len(s.missing()) > 0 || len(s.doubt) > 0 {
		return fmt.Errorf("%s: a chunk is not finished; settle it first", s.name)
	}
	from, _ := s.Position()
	rest := *c
	for {
		r, n, err := s.plan(from, &rest)
		if err != nil {
			return err
		}
		parts := split(r, rest.Messages[:n], rest.Ends[:n])
		if err := s.deliver(ctx, r, parts); err != nil {
			return err
		}
		rest.Messages, rest.Ends, from = rest.Messages[n:], rest.Ends[n:], r.to
		if len(rest.Messages) == 0 && from == c.To {
			return nil
		}
	}
}

// part is what of a chunk goes into one lane.
type part struct {
	lane     string
	messages []agent.Message
	ends     []int64
}

// Leave room in a checkpoint for what may have to be said of it later: a greater
// number, another lane.
const recordRoom = maxRecord - 80

// plan makes the record of a chunk, or of its first n messages if all do not fit
// into one.
func (s *Source) plan(from int64, c *Chunk) (r *record, n int, err error) {
	r = s.next(from)
	size := len(r.append(nil)) + MaxNote + 30
	at := from
	for n < len(c.Messages) {
		lane, err := s.feed.to.LaneOf(&c.Messages[n])
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", s.name, err)
		}
		before := len(r.lanes) + len(r.runs)
		i := slices.Index(r.lanes, lane)
		last := len(r.runs) - 1
		fresh := i < 0
		if fresh {
			size += len(lane) + 1
			i = len(r.lanes)
		}
		if last < 0 || r.runs[last].lane != i {
			size += 5 // a run of up to 256 MiB
		}
		if size > recordRoom && before > 0 {
			break
		}
		if fresh {
			r.lanes = append(r.lanes, lane)
		}
		r.add(i, c.Ends[n]-at)
		at = c.Ends[n]
		n++
	}
	r.to = at
	if n == len(c.Messages) {
		if k := len(r.runs) - 1; k >= 0 {
			r.runs[k].size += c.To - at
		}
		r.to = c.To
	}
	if len(r.lanes) == 0 {
		r.lanes = []string{s.feed.home(s)}
	}
	if c.Note != nil {
		r.note = c.Note(r.to)
	}
	if len(r.note) > MaxNote {
		return nil, 0, fmt.Errorf("%s: a note of %d bytes, want at most %d", s.name, len(r.note), MaxNote)
	}
	return r, n, nil
}

// add appends bytes to the runs.
func (r *record) add(lane int, size int64) {
	if k := len(r.runs) - 1; k >= 0 && r.runs[k].lane == lane {
		r.runs[k].size += size
	} else if size > 0 {
		r.runs = append(r.runs, run{lane, size})
	}
}

// next returns a new record that begins at from.
func (s *Source) next(from int64) *record {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &record{n: 1, from: from, to: from, done: from}
	if s.last != nil {
		r.n = s.last.n + 1
	}
	return r
}

// split gives each message to its lane.
func split(r *record, messages []agent.Message, ends []int64) []part {
	parts := make([]part, len(r.lanes))
	for i := range parts {
		parts[i].lane = r.lanes[i]
	}
	if len(r.lanes) == 1 {
		parts[0].messages, parts[0].ends = messages, ends
		return parts
	}
	k, upTo := -1, r.from
	for i := range messages {
		for ends[i] > upTo || k < 0 {
			k++
			upTo += r.runs[k].size
		}
		p := &parts[r.runs[k].lane]
		p.messages, p.ends = append(p.messages, messages[i]), append(p.ends, ends[i])
	}
	return parts
}

// deliver puts the parts of a chunk into their lanes.
func (s *Source) deliver(ctx context.Context, r *record, parts []part) error {
	errs := make([]error, len(parts))
	var all sync.WaitGroup
	for i := range parts[1:] {
		all.Go(func() { errs[i+1] = s.put(ctx, r, &parts[i+1], r.to) })
	}
	errs[0] = s.put(ctx, r, &parts[0], r.to)
	all.Wait()
	return errors.Join(errs...)
}

// How long Send waits for a lane that is full before it tries again.
const (
	shortestPause = 50 * time.Millisecond
	longestPause  = 5 * time.Second
)

// put puts one part into its lane, with the checkpoint that says done.
func (s *Source) put(ctx context.Context, r *record, p *part, done int64) error {
	s.begins()
	defer s.ends()
	mine := *r
	mine.done = done
	at := agent.Checkpoint{Source: s.name, At: mine.append(nil)}
	told := false
	for pause := shortestPause; ; pause = min(2*pause, longestPause) {
		err := s.feed.to.SendFrom(ctx, p.lane, p.messages, at)
		if errors.Is(err, agent.ErrUncertain) && ctx.Err() == nil {
			s.waits(err)
			var there bool
			if there, err = s.settled(ctx, p.lane, at); there {
				err = nil
			} else if err == nil {
				continue // it is certainly not there
			}
		}
		switch n := uint64(len(p.messages)); {
		case err == nil, errors.Is(err, agent.ErrDropped):
			if told {
				s.feed.log.Info("the lane takes messages again", "lane", p.lane, "source", s.name)
			}
			s.has(p.lane, &mine, n, errors.Is(err, agent.ErrDropped))
			return nil
		case errors.Is(err, agent.ErrTooLarge):
			return s.divide(ctx, r, p, done, err)
		case !errors.Is(err, agent.ErrFull):
			s.doubts(p.lane)
			return fmt.Errorf("lane %s: %w", p.lane, err)
		}
		s.waits(err)
		if !told {
			told = true
			s.feed.log.Warn("a lane is full: the source is read on when there is room", "lane", p.lane, "source", s.name, "err", err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// begins and ends frame a call that puts something into a lane.
func (s *Source) begins() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.puts++; s.puts == 1 {
		s.since = time.Now()
	}
}

func (s *Source) ends() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts--
}

// longPut is how long a lane that has room and a disk that works take at most.
const longPut = time.Second / 2

// Waits reports whether what the source has handed in waits for room in a lane.
func (s *Source) Waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts > 0 && (s.full != nil || time.Since(s.since) > longPut)
}

// divide puts a part that is more than its lane may hold, in halves; a single
// message that no lane can hold is passed over.
func (s *Source) divide(ctx context.Context, r *record, p *part, done int64, cause error) error {
	half := len(p.messages) / 2
	if half == 0 {
		s.feed.log.Error("a message is too large and was passed over", "lane", p.lane, "source", s.name, "ends_at", done, "err", cause)
		s.mu.Lock()
		s.count.TooLong++
		s.mu.Unlock()
		return s.put(ctx, r, &part{lane: p.lane}, done)
	}
	first := part{p.lane, p.messages[:half], p.ends[:half]}
	if err := s.put(ctx, r, &first, p.ends[half-1]); err != nil {
		return err
	}
	return s.put(ctx, r, &part{p.lane, p.messages[half:], p.ends[half:]}, done)
}

// settled waits until the lane stores again, and reports whether it has the
// checkpoint.
func (s *Source) settled(ctx context.Context, lane string, want agent.Checkpoint) (bool, error) {
	if err := s.barrier(ctx, lane); err != nil {
		return false, err
	}
	for _, c := range s.feed.to.Checkpoints()[lane] {
		if c.Source == want.Source {
			return slices.Equal(c.At, want.At), nil
		}
	}
	return false, nil
}

// barrier waits until a commit of the lane has succeeded: what was uncertain before
// it is certain then. Forgetting a source that nobody knows is one. A lane that takes
// nothing any more is only drained, and has been settled by its opening.
func (s *Source) barrier(ctx context.Context, lane string) error {
	for pause := shortestPause; s.feed.takes(lane); pause = min(2*pause, longestPause) {
		err := s.feed.to.SendFrom(ctx, lane, nil, agent.Checkpoint{Source: "nothing: is the lane well?"})
		if err == nil {
			return nil
		}
		if !errors.Is(err, agent.ErrFull) && !errors.Is(err, agent.ErrUncertain) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// has notes that a lane has n messages, and the record.
func (s *Source) has(lane string, r *record, n uint64, dropped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at[lane] = r
	if s.last == nil || s.last.n < r.n {
		s.last = r
	}
	s.full = nil
	switch {
	case dropped:
		s.count.Dropped += n
	case n > 0:
		s.count.Accepted += n
		s.count.Last = time.Now()
	}
}

// doubts notes that a lane may or may not have what was handed in.
func (s *Source) doubts(lane string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.doubt == nil {
		s.doubt = map[string]bool{}
	}
	s.doubt[lane] = true
}

func (s *Source) waits(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = err
}

// Resume finishes the chunk of which lanes lack their part; without one it does
// nothing. read returns the messages of bytes of the source, and where they end, by
// the rules by which they were cut at first; both ends are ends of messages, or of
// the chunk. An error of read is returned. The part of a lane that takes no messages
// any more goes to the lanes that its messages go to now.
func (s *Source) Resume(ctx context.Context, read func(from, to int64) ([]agent.Message, []int64, error)) error {
	var gone []rng
	for _, lane := range slices.Sorted(maps.Keys(s.missing())) {
		ranges := s.last.of(lane, s.done(lane))
		if !s.feed.takes(lane) {
			gone = append(gone, ranges...)
			continue
		}
		p, err := s.readPart(ranges, read)
		if err != nil {
			return err
		}
		p.lane = lane
		if err := s.put(ctx, s.last, &p, s.last.to); err != nil {
			return err
		}
	}
	left := s.missing()
	if len(left) == 0 {
		return nil
	}
	slices.SortFunc(gone, func(a, b rng) int { return int(min(1, max(-1, a.from-b.from))) })
	p, err := s.readPart(gone, read)
	if err != nil {
		return err
	}
	r, err := s.reroute(gone, &p)
	if err != nil {
		return err
	}
	s.feed.log.Info("a lane is gone: what it had not got yet goes to others", "lanes_gone", slices.Sorted(maps.Keys(left)), "lanes", r.lanes, "source", s.name)
	return s.deliver(ctx, r, split(r, p.messages, p.ends))
}

// readPart reads ranges of the source.
func (s *Source) readPart(ranges []rng, read func(from, to int64) ([]agent.Message, []int64, error)) (p part, err error) {
	for _, x := range ranges {
		messages, ends, err := read(x.from, x.to)
		if err != nil {
			return p, err
		}
		p.messages, p.ends = append(p.messages, messages...), append(p.ends, ends...)
	}
	return p, nil
}

// reroute makes a new chunk of bytes of the last one. It must not be cut, because
// what lies between them has been accepted: if it does not fit into a checkpoint,
// all goes to the default lane.
func (s *Source) reroute(ranges []rng, p *part) (*record, error) {
	for _, home := range []string{"", defaultLane} {
		r := s.next(s.last.from)
		r.note = s.last.note
		at, i := r.from, 0
		for _, x := range ranges {
			r.add(-1, x.from-at)
			at = x.from
			for ; i < len(p.ends) && p.ends[i] <= x.to; i++ {
				lane, err := home, error(nil)
				if lane == "" {
					lane, err = s.feed.to.LaneOf(&p.messages[i])
				}
				if err != nil {
					return nil, err
				}
				k := slices.Index(r.lanes, lane)
				if k < 0 {
					k = len(r.lanes)
					r.lanes = append(r.lanes, lane)
				}
				r.add(k, p.ends[i]-at)
				at = p.ends[i]
			}
		}
		r.add(-1, s.last.to-at)
		r.to = s.last.to
		if len(r.lanes) == 0 {
			r.lanes = []string{s.feed.home(s)}
		}
		if len(r.append(nil)) <= maxRecord {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%s: the rest of %s does not fit into a checkpoint", s.name, s.last)
}

// Abandon gives up what is left of the last chunk, because it cannot be read again,
// and returns how many bytes that were. The next Send goes on behind the chunk.
func (s *Source) Abandon(ctx context.Context) (int64, error) {
	n := s.left()
	if len(s.missing()) == 0 {
		return 0, nil
	}
	r := s.next(s.last.to)
	r.note = s.last.note
	r.lanes = []string{s.feed.home(s)}
	return n, s.put(ctx, r, &part{lane: r.lanes[0]}, r.to)
}

// Forget takes the source out of the lanes' memory, because it is gone for good. A
// lane that takes no messages any more keeps what it has.
func (s *Source) Forget(ctx context.Context) error {
	s.mu.Lock()
	lanes := slices.SortedFunc(maps.Keys(s.at), func(a, b string) int { return int(min(1, max(-1, int64(s.at[a].n)-int64(s.at[b].n)))) })
	s.mu.Unlock()
	for _, lane := range lanes { // the newest last, so that no older one is believed
		if !s.feed.takes(lane) {
			continue
		}
		if err := s.feed.to.SendFrom(ctx, lane, nil, agent.Checkpoint{Source: s.name}); err != nil {
			return fmt.Errorf("lane %s: %w", lane, err)
		}
		s.mu.Lock()
		delete(s.at, lane)
		s.mu.Unlock()
	}
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	delete(s.feed.sources, s.name)
	return nil
}
