package exec

import (
	"sync"

	"github.com/fieldpost/fieldpost/agent"
)

// The most that waits to be handed in; one line may go beyond the bytes.
const (
	batchLines = 4096
	batchBytes = 1 << 20
)

// queue is lines between the one who reads and the one who hands in.
type queue struct {
	mu    sync.Mutex
	moved sync.Cond
	list  []agent.Message
	bytes int
	ended bool
}

func newQueue() *queue {
	q := &queue{}
	q.moved.L = &q.mu
	return q
}

// add waits for room.
func (q *queue) add(m agent.Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.list) >= batchLines || q.bytes >= batchBytes {
		q.moved.Wait()
	}
	q.list = append(q.list, m)
	q.bytes += len(m.Body)
	q.moved.Broadcast()
}

// end says that nothing more comes.
func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	q.moved.Broadcast()
}

// take waits for lines and returns all there are, none at the end. The one who takes
// gives back the list that it had before.
func (q *queue) take(used []agent.Message) []agent.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.list) == 0 && !q.ended {
		q.moved.Wait()
	}
	list := q.list
	clear(used)
	q.list, q.bytes = used[:0], 0
	q.moved.Broadcast()
	return list
}
