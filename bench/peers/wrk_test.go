package main

import "testing"

const wrkSays = `Running 2s test @ http://127.0.0.1:1/http-bind
  2 threads and 64 connections
  Latency Distribution
     50%  700.00us
     99%    1.25ms
  20000 requests in 2.00s, 5.0MB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 5
Requests/sec:  10000.00
`

func TestWhatWrkSays(t *testing.T) {
	var m measured
	if err := m.read(wrkSays, 0.5, 0.1); err != nil {
		t.Fatal(err)
	}
	if want := (measured{perSecond: 10_000, p99Millis: 1.25, server: 2.5, origin: 0.5, errors: 15}); m != want {
		t.Errorf("%+v, want %+v", m, want)
	}
	for _, bad := range []string{"", "unable to connect", "  99%  1ms\n  0 requests in 2.00s"} {
		if err := m.read(bad, 0, 0); err == nil {
			t.Errorf("%q says nothing and was believed", bad)
		}
	}
}
