package main

import (
	"testing"
	"time"

	"megaphone/load"
)

func TestJoin(t *testing.T) {
	points := make([]point, 4)
	for i := range points {
		points[i].at = time.UnixMilli(int64(1000 + 100*i))
		points[i].Anon = map[string]uint64{ejabberdName: uint64(i)}
	}
	if err := join(points, []byte("1050 10 1 2 3 4 5 -1\n1200 20 1 2 3 4 9 7\n")); err != nil {
		t.Fatal(err)
	}
	for i, want := range []state{{Memory: 10, Sessions: 5, Awake: 5}, {Memory: 10, Sessions: 5, Awake: 5},
		{Memory: 20, Sessions: 9, Asleep: 7, Awake: 2}, {Memory: 20, Sessions: 9, Asleep: 7, Awake: 2}} {
		p := &points[i]
		if p.Memory != want.Memory || p.Sessions != want.Sessions || p.Asleep != want.Asleep || p.Awake != want.Awake ||
			p.Anon[ejabberdName] != uint64(i) {
			t.Errorf("point %d is %+v, want %+v", i, p.state, want)
		}
	}
	if err := join(points, []byte("1050 10 1\n")); err == nil {
		t.Error("half a line was taken")
	}
}

func TestRememberTakesPhases(t *testing.T) {
	began := time.Unix(100, 0)
	tr := &trial{Available: 50, Load: &load.Report{Started: began, Phases: []load.Phase{
		{Name: phaseOpening, At: 0, Seconds: 2}, {Name: phaseBurst, At: 2, Seconds: 2}}}}
	var points []point
	for i, memory := range []uint64{1, 2, 3, 9, 4, 5} {
		at := began.Add(time.Duration(i)*time.Second - 500*time.Millisecond)
		points = append(points, point{at: at, available: 40 + i, state: state{Memory: memory}})
	}
	tr.remember(points)
	if tr.Idle.Memory != 1 || tr.Left.Memory != 5 || tr.Least != 40 {
		t.Errorf("idle %d, left %d, least %d", tr.Idle.Memory, tr.Left.Memory, tr.Least)
	}
	if s, m := tr.States[phaseOpening].Memory, tr.Most[phaseOpening].Memory; s != 3 || m != 3 {
		t.Errorf("opening: %d at its end, %d at most", s, m)
	}
	if s, m := tr.States[phaseBurst].Memory, tr.Most[phaseBurst].Memory; s != 4 || m != 9 {
		t.Errorf("burst: %d at its end, %d at most", s, m)
	}
	if points[3].phase != phaseBurst || points[0].phase != "" || points[5].phase != "" {
		t.Errorf("phases %q, %q, %q", points[3].phase, points[0].phase, points[5].phase)
	}
}

func TestOptionsSayWhatIsWrong(t *testing.T) {
	for _, args := range [][]string{{"--rate", "0"}, {"--sessions", "1"}, {"--sessions", "11M"}, {"--wait", "3"},
		{"--burst", "0"}, {"--burst", "2"}, {"--burst", "NaN"}, {"--login", "plain"},
		{"--chat-seconds", "0"}, {"more"}} {
		if _, err := parseOptions(args); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}
