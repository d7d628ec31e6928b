package main

import (
	"testing"
	"time"

	"megaphone/load"
)

const edgeLog = `gc 1 @0.500s 2%: 0.018+2.4+0.002 ms clock, 4->4->3 MB, 4 MB goal, 2 P
time=2026-01-01T00:00:01.000Z level=INFO msg=counters counters="map[frames_out:100 link_writes:10 open_now:9]"
time=2026-01-01T00:00:02.900Z level=INFO msg=counters counters="map[frames_out:150 link_writes:20 open_now:5]"
gc 2 @4.500s 0%: 2.5+6.8+0.004 ms clock, 6->6->4 MB, 6 MB goal, 2 P
time=2026-01-01T00:00:05.000Z level=WARN msg="something else" counters="map[frames_out:1]"
time=2026-01-01T00:00:05.900Z level=INFO msg=counters counters="map[frames_out:450 link_writes:80 open_now:7]"
`

func TestActivitiesOfPhases(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r := &load.Report{Started: start.Add(time.Second), Phases: []load.Phase{
		{Name: "opening", At: 0, Seconds: 2}, {Name: "chat", At: 2, Seconds: 3},
	}}
	all := activities([]byte(edgeLog), start, r)
	opening, chat := all["opening"], all["chat"]
	if got := opening.ratio("frames_out", "link_writes"); got != 5 { // (150-100)/(20-10)
		t.Errorf("opening: %v frames a write in %+v", got, opening)
	}
	if got := chat.ratio("frames_out", "link_writes"); got != 5 || chat.Counters["frames_out"] != 300 {
		t.Errorf("chat: %v frames a write in %+v", got, chat)
	}
	if opening.Collections != 0 || chat.Collections != 1 {
		t.Errorf("collections: %+v and %+v, want none and one", opening, chat)
	}
	if _, ok := chat.Counters["open_now"]; ok {
		t.Error("the difference of a gauge says nothing")
	}
	var none *activity
	if none.ratio("frames_out", "link_writes") != 0 {
		t.Error("a phase that was not there had frames")
	}
}
