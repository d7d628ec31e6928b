package load

import (
	"fmt"
	"strings"
)

// Verdict is the outcome of a run and its exit status.
type Verdict struct {
	Status int    `json:"exit_status"`
	Text   string `json:"text"`
}

// Exit statuses of a completed run. 1 and 2 are those of the whole program.
const (
	StatusFine        = 0
	statusMessages    = 3   // messages were lost, duplicated, reordered or misplaced, or not sent
	statusSessions    = 4   // sessions were not reached or lost, or did not come back
	StatusInterrupted = 130 // neither, but stopped early
)

// judge returns the verdict on an otherwise complete report.
func judge(r *Report) Verdict {
	var wrong, missing []string
	add := func(list *[]string, n uint64, what string) {
		if n > 0 {
			*list = append(*list, fmt.Sprintf("%d %s", n, what))
		}
	}
	m, s := &r.Messages, &r.Sessions
	add(&wrong, m.Lost, "messages lost")
	add(&wrong, m.Duplicated, "duplicated")
	add(&wrong, m.Reordered, "out of order")
	add(&wrong, m.Misplaced, "misplaced")
	add(&missing, s.Failed, "sessions failed")
	add(&missing, s.Lost, "sessions lost")
	if !r.Interrupted {
		add(&wrong, m.Unsent, "messages not sent")
		add(&missing, s.Away, "sessions away at the end")
		add(&missing, s.Wanted-min(s.Wanted, s.Reached+s.Failed), "sessions not reached")
		if r.Storm != nil && !r.Storm.Recovered {
			missing = append(missing, "not all sessions came back from the storm")
		}
	}
	switch {
	case len(wrong) > 0:
		return Verdict{statusMessages, strings.Join(append(wrong, missing...), ", ")}
	case len(missing) > 0:
		return Verdict{statusSessions, strings.Join(missing, ", ")}
	case r.Interrupted:
		return Verdict{StatusInterrupted, "interrupted; nothing was lost until then"}
	}
	if m.Sent == 0 {
		return Verdict{StatusFine, "all sessions were reached and none was lost"}
	}
	return Verdict{StatusFine, "all sessions were reached; nothing was lost, duplicated or out of order"}
}
