package main

import (
	"math"
	"testing"
	"time"
)

func TestMedianLeavesOutWhatIsNone(t *testing.T) {
	same := func(v float64) float64 { return v }
	for _, c := range []struct {
		list []float64
		want float64
	}{{[]float64{3, math.NaN(), 1, 2}, 2}, {[]float64{4, 1}, 2.5}, {[]float64{7}, 7}} {
		if got := median(c.list, same); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.list, got, c.want)
		}
	}
	if got := median([]float64{math.NaN()}, same); !math.IsNaN(got) || decimal(got) != none || whole(got) != none {
		t.Errorf("median of nothing is %v", got)
	}
}

func TestQuantile(t *testing.T) {
	list := []time.Duration{4, 1, 3, 2}
	if quantile(list, 0.5) != 3 || quantile(list, 0) != 1 || quantile(list, 1) != 4 || quantile(nil, 0.5) != 0 {
		t.Errorf("quantiles of %v", list)
	}
}

func TestWhole(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := whole(v); got != want {
			t.Errorf("%v prints as %s, want %s", v, got, want)
		}
	}
}
