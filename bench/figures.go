package main

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// bodySize is how many bytes the body of every message has.
const bodySize = 256

// bodies returns count different bodies that read like telemetry.
func bodies(count int) [][]byte {
	r := rand.New(rand.NewPCG(7, 11))
	words := []string{"inlet", "outlet", "steady", "rising", "valve", "motor", "level", "check", "drift"}
	out := make([][]byte, count)
	for i := range out {
		s := fmt.Appendf(nil, `{"n":%d,"site":"plant-%02d","unit":"pump-%03d","value":%.5f,"trace":"%016x%016x","text":"`,
			i, r.IntN(40), r.IntN(700), r.Float64()*1000, r.Uint64(), r.Uint64())
		for len(s) < bodySize {
			s = append(append(s, words[r.IntN(len(words))]...), ' ')
		}
		out[i] = append(s[:bodySize-2], `"}`...)
	}
	return out
}

// quantile returns the p-quantile of a list, which it sorts; zero if it is empty.
func quantile(list []time.Duration, p float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(len(list)-1, int(p*float64(len(list))))]
}

// median returns the middle of what f says of each element; NaN is left out, and
// is the result if there is nothing else.
func median[T any](list []T, f func(T) float64) float64 {
	var values []float64
	for _, v := range list {
		if x := f(v); !math.IsNaN(x) {
			values = append(values, x)
		}
	}
	slices.Sort(values)
	k := len(values) / 2
	switch {
	case len(values) == 0:
		return math.NaN()
	case len(values)%2 == 0:
		return (values[k-1] + values[k]) / 2
	}
	return values[k]
}

// table writes rows as Markdown; the first one is the heading.
func table(w io.Writer, rows [][]string) {
	for i, row := range rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(w, "|%s\n", strings.Repeat(" --- |", len(row)))
		}
	}
	fmt.Fprintln(w)
}

// whole prints a number with separators between thousands.
func whole(v float64) string {
	if math.IsNaN(v) {
		return none
	}
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// none stands where there is no figure.
const none = "-"

func decimal(v float64) string {
	if math.IsNaN(v) {
		return none
	}
	return fmt.Sprintf("%.2f", v)
}

// millis prints a duration given in seconds.
func millis(seconds float64) string { return decimal(seconds * 1e3) }
