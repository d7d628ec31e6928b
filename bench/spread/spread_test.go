package spread

import "testing"

func TestOf(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   Spread
	}{
		{[]float64{7}, Spread{7, 7, 7}},
		{[]float64{9, 1}, Spread{5, 1, 9}},
		{[]float64{3, 1, 2}, Spread{2, 1, 3}},
		{[]float64{8, 1, 4, 2}, Spread{3, 1, 8}},
	} {
		before := append([]float64(nil), test.values...)
		if got := Of(test.values); got != test.want {
			t.Errorf("Of(%v) = %v, want %v", before, got, test.want)
		}
		for i, v := range before {
			if test.values[i] != v {
				t.Errorf("Of sorted its argument %v in place: %v", before, test.values)
			}
		}
	}
}

func TestText(t *testing.T) {
	for _, test := range []struct {
		spread   Spread
		decimals int
		want     string
	}{
		{Spread{1, 0, 2}, 0, "1 (0..2)"},
		{Spread{0.5, 0.25, 12.125}, 2, "0.50 (0.25..12.12)"},
		{Spread{999.6, 100, 1234567}, 0, "1,000 (100..1,234,567)"},
		{Spread{-1234.5, -123456, -123}, 1, "-1,234.5 (-123,456.0..-123.0)"},
	} {
		if got := test.spread.Text(test.decimals); got != test.want {
			t.Errorf("%v with %d decimals is %q, want %q", test.spread, test.decimals, got, test.want)
		}
	}
}
