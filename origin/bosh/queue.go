package bosh

import "encoding/binary"

// queue holds the payloads that wait for one client, each behind its length in four bytes. A length of 0 behind a
// payload ends the body that carries it. An empty queue has no buffer.
type queue struct {
	buf    []byte
	head   int  // offset of the first payload's length
	stream bool // a payload in the buffer uses, or used, the prefix "stream"
}

// queueHeaderBytes is the overhead of a queued payload.
const queueHeaderBytes = 4

func (q *queue) empty() bool { return q.head == len(q.buf) }
func (q *queue) bytes() int  { return len(q.buf) - q.head }

// push copies payload to the end of the queue.
func (q *queue) push(free *buffers, payload []byte) {
	if q.buf == nil {
		q.buf = free.get()
	}
	q.buf = binary.LittleEndian.AppendUint32(q.buf, uint32(len(payload)))
	q.buf = append(q.buf, payload...)
	q.stream = q.stream || needsStream(payload)
}

// peek returns the length of the first payload; the queue must not be empty.
func (q *queue) peek() int { return int(binary.LittleEndian.Uint32(q.buf[q.head:])) }

// endBody makes the last payload the last of its body. No payload ends in zero bytes, because XML does not permit them.
func (q *queue) endBody() {
	if !q.empty() && binary.LittleEndian.Uint32(q.buf[len(q.buf)-queueHeaderBytes:]) != 0 {
		q.buf = append(q.buf, 0, 0, 0, 0)
	}
}

// pop removes and returns the first payload, or nil if there is none, and reports whether it ends its body. The payload
// is valid until the next push or release.
func (q *queue) pop() (payload []byte, endsBody bool) {
	if q.empty() {
		return nil, true
	}
	start := q.head + queueHeaderBytes
	end := start + q.peek()
	q.head = end
	if !q.empty() && q.peek() == 0 {
		q.head += queueHeaderBytes
		endsBody = true
	}
	return q.buf[start:end:end], endsBody
}

// release returns the queue's buffer to the pool and drops any payloads left in it.
func (q *queue) release(free *buffers) {
	if q.buf != nil {
		free.put(q.buf)
	}
	*q = queue{}
}

// The pool of queue buffers: at most maxFreeBuffers*maxFreeBufferBytes = 4 MiB are kept.
const (
	newBufferBytes     = 1024
	maxFreeBufferBytes = 16_384
	maxFreeBuffers     = 256
)

// buffers is the queues' pool: a stack without a lock, because one goroutine uses it.
type buffers struct{ free [][]byte }

func (f *buffers) get() []byte {
	n := len(f.free)
	if n == 0 {
		return make([]byte, 0, newBufferBytes)
	}
	b := f.free[n-1]
	f.free = f.free[:n-1]
	return b
}

func (f *buffers) put(b []byte) {
	if cap(b) <= maxFreeBufferBytes && len(f.free) < maxFreeBuffers {
		f.free = append(f.free, b[:0])
	}
}
