package tuning

import "testing"

func TestMerge(t *testing.T) {
	mem := want{atLeast(500), atLeast(1000), atLeast(1250)}
	for _, c := range []struct {
		want     want
		now, set string
		ok       bool
	}{
		{want{atLeast(100)}, "100", "100", true},
		{want{atLeast(100)}, "101", "101", true}, // better: it stays
		{want{atLeast(100)}, "99", "100", false},
		{want{atLeast(100)}, "18446744073709551615", "18446744073709551615", true}, // file-max of some kernels
		{want{atMost(30)}, "30", "30", true},
		{want{atMost(30)}, "5", "5", true},
		{want{atMost(30)}, "60", "30", false},
		{want{exactly(0)}, "0", "0", true},
		{want{exactly(0)}, "1", "0", false},
		{want{oneOf("madvise", "never")}, "never", "never", true},
		{want{oneOf("madvise", "never")}, "always", "madvise", false},
		{mem, "500 1000 1250", "500 1000 1250", true},
		{mem, "600 900 1000", "600 1000 1250", false}, // field by field
		{want{anything, atMost(131072), anything}, "4096 262144 33554432", "4096 131072 33554432", false},
		{want{anything, atMost(131072), anything}, "1 2 3", "1 2 3", true},
		{want{atMost(10000), atLeast(60999)}, "32768 65535", "10000 65535", false},
		{want{atLeast(100)}, "", "", false}, // an unknown form is left alone
		{want{atLeast(100)}, "1 2", "", false},
		{mem, "500 1000", "", false},
		{want{atLeast(100)}, "many", "100", false},
	} {
		if set, ok := c.want.merge(c.now); set != c.set || ok != c.ok {
			t.Errorf("%s, now %q: set %q, %v; want %q, %v", c.want, c.now, set, ok, c.set, c.ok)
		}
	}
}

func TestWantAsText(t *testing.T) {
	for text, w := range map[string]want{
		">=1 <=2 =3":    {atLeast(1), atMost(2), exactly(3)},
		"- <=131072 -":  {anything, atMost(131072), anything},
		"madvise/never": {oneOf("madvise", "never")},
	} {
		if got := w.String(); got != text {
			t.Errorf("%q, want %q", got, text)
		}
	}
}
