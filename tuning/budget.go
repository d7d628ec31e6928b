package tuning

// Bytes of the kernel for one TCP socket that is open and idle, as slab objects with their share of the slab, Linux
// 6.18:
//
//	2520   TCP                 13 objects in 32 KiB
//	 862   sock_inode_cache    19 objects in 16 KiB
//	 195   filp                21 objects in 4 KiB
//	 195   dentry              21 objects in 4 KiB
//	 128   eventpoll_epi       the registration with epoll
//	  64   kmalloc-64          and its place in the wait queue
//	----
//	3964   and 3.9 KiB an end were measured with a million connections over loopback
const (
	tcpBytes         = 2520
	inodeBytes       = 862
	filpBytes        = 195
	dentryBytes      = 195
	epollItemBytes   = 128
	epollWaitBytes   = 64
	kernelIdleBytes  = tcpBytes + inodeBytes + filpBytes + dentryBytes + epollItemBytes + epollWaitBytes
	kernelQueueBytes = 4096 // a page: charged for a socket with one short reply queued (measured), and at most used
)

// Bytes of the edge for one connection with one held request, idle.
//
//	 64   slot
//	 30   1.25 holds of 24
//	  4   index from descriptor to slot
//	 41   one connection in a hundred has 4 KiB of an unfinished request or reply
//	----
//	139   and 110 to 141 were measured, the process's growth included
const (
	SlotBytes     = 64
	HoldBytes     = 24 * 5 / 4
	indexBytes    = 4
	bufferedBytes = 4096/100 + 1
	userBytes     = SlotBytes + HoldBytes + indexBytes + bufferedBytes
)

// Bytes of an edge's process, independent of its connections.
//
//	32 MiB   Go's runtime: code, heap with room for a collection, stacks
//	16 MiB   read buffers, 64 KiB each, of up to 256 reactors
//	16 MiB   batches of links
//	------
//	64 MiB   less than half of it was ever measured
const (
	runtimeBytes = 32 << 20
	ReadBytes    = BudgetReactors * 64 << 10
	linkBytes    = 16 << 20
	processBytes = runtimeBytes + ReadBytes + linkBytes

	BudgetReactors = 256
)

// Line is one consumer of memory.
type Line struct {
	Name           string `json:"name"`
	Where          string `json:"where"` // kernel or user
	BytesPerSocket uint64 `json:"bytes_per_socket"`
	FixedBytes     uint64 `json:"fixed_bytes"`
	TotalBytes     uint64 `json:"total_bytes"`
	Why            string `json:"why"`
}

// Budget is the memory that N sockets take, with a reply queued on each of them at once: the peak of a broadcast. Half
// of it is in use at rest. It excludes the memory of the origin and of a load generator.
type Budget struct {
	Lines          []Line `json:"lines"`
	BytesPerSocket uint64 `json:"bytes_per_socket"`
	TotalBytes     uint64 `json:"total_bytes"`
}

// NewBudget adds up the consumers for n sockets.
func NewBudget(n int) Budget {
	const kernel, user = "kernel", "user"
	b := Budget{Lines: []Line{
		{"TCP socket", kernel, tcpBytes, 0, 0, "struct tcp_sock"},
		{"inode, file, dentry", kernel, inodeBytes + filpBytes + dentryBytes, 0, 0, "the descriptor and its file"},
		{"epoll", kernel, epollItemBytes + epollWaitBytes, 0, 0, "item and wait entry"},
		{"socket buffers", kernel, kernelQueueBytes, 0, 0, "one queued reply each, charged as a page (tcp_mem)"},
		{"connection slots", user, SlotBytes, 0, 0, "64 bytes, preallocated"},
		{"hold slots", user, HoldBytes, 0, 0, "1.25 x 24 bytes, preallocated"},
		{"descriptor index", user, indexBytes, 0, 0, "from descriptor to slot"},
		{"unfinished input, output", user, bufferedBytes, 0, 0, "4 KiB for one connection in a hundred"},
		{"read buffers", user, 0, ReadBytes, 0, "64 KiB a reactor, up to 256 of them"},
		{"link batches", user, 0, linkBytes, 0, "frames of a turn, both ways"},
		{"Go runtime", user, 0, runtimeBytes, 0, "code, heap, stacks"},
	}}
	for i := range b.Lines {
		l := &b.Lines[i]
		l.TotalBytes = l.BytesPerSocket*uint64(n) + l.FixedBytes
		b.BytesPerSocket += l.BytesPerSocket
		b.TotalBytes += l.TotalBytes
	}
	return b
}
