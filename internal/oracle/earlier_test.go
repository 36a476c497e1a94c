package oracle

import (
	"iter"
	"strings"
	"testing"
)

// held yields bodies as a store held them under the numbers 1, 2, 3... of
// incarnation i.
func held(bodies ...string) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		for i, b := range bodies {
			if !yield(Stored{Agent: "pump", Lane: "default", Incarnation: "i", Seq: uint64(i + 1), Topic: "t", Body: []byte(b)}, nil) {
				return
			}
		}
	}
}

func TestAMessageMayBeMissingOnlyIfATrueDeclarationNamesIt(t *testing.T) {
	gone := func(store, incarnation string, from, to uint64) Declaration {
		return Declaration{Agent: "pump", Lane: "default", Incarnation: incarnation, From: from, To: to, Store: store}
	}
	for _, c := range []struct {
		name     string
		export   string
		declared []Declaration
		want     Tally
	}{
		{"all are stored", export("a", "b", "c"), nil, Tally{Accepted: 3, Stored: 3}},
		{"nothing is declared", export("a", "c"), nil, Tally{Accepted: 3, Stored: 2, Missing: 1}},
		{"it is declared", export("a", "c"), []Declaration{gone("old", "i", 2, 2)}, Tally{Accepted: 3, Stored: 2, Declared: 1}},
		{"a run is declared", export("c"), []Declaration{gone("old", "i", 1, 2)}, Tally{Accepted: 3, Stored: 1, Declared: 2}},
		{"its neighbour is declared", export("a", "c"), []Declaration{gone("old", "i", 1, 1)}, Tally{Accepted: 3, Stored: 2, Missing: 1, Untrue: 1}},
		{"of another incarnation", export("a", "c"), []Declaration{gone("old", "j", 2, 2)}, Tally{Accepted: 3, Stored: 2, Missing: 1, Untrue: 1}},
		{"of another store", export("a", "c"), []Declaration{gone("new", "i", 2, 2)}, Tally{Accepted: 3, Stored: 2, Missing: 1, Untrue: 1}},
		{"never held there", export("a", "b"), []Declaration{gone("old", "i", 3, 3)}, Tally{Accepted: 3, Stored: 2, Missing: 1, Untrue: 1}},
		{"stored and declared", export("a", "b", "c"), []Declaration{gone("old", "i", 2, 2)}, Tally{Accepted: 3, Stored: 3, Untrue: 1}},
		{"declared twice", export("a", "c"), []Declaration{gone("old", "i", 2, 2), gone("old", "i", 2, 2)}, Tally{Accepted: 3, Stored: 2, Declared: 1, Doubled: 1}},
	} {
		var sent Sent
		for _, b := range []string{"a", "b", "c"} {
			sent.Add(msg("p", b), Accepted)
		}
		if err := sent.Earlier("old", held("a", "b")); err != nil {
			t.Fatal(err)
		}
		for _, d := range c.declared {
			sent.Declare(d)
		}
		for range 2 { // judged again, the verdict is the same
			v, err := sent.Judge(Export(strings.NewReader(c.export)))
			if err != nil || v.Tally != c.want {
				t.Errorf("%s: %v\ngot  %+v\nwant %+v", c.name, err, v.Tally, c.want)
			}
			if ok := c.want.Missing+c.want.Untrue+c.want.Doubled == 0; v.OK() != ok {
				t.Errorf("%s: OK is %v", c.name, v.OK())
			}
		}
	}
}

func TestEarlierRefusesWhatItCannotTell(t *testing.T) {
	var sent Sent
	sent.Add(msg("p", "a"), Accepted)
	sent.Add(msg("p", "a"), Accepted)
	for _, body := range []string{"a", "never sent"} {
		if err := sent.Earlier("old", held(body)); err == nil {
			t.Errorf("%q was taken for one message", body)
		}
	}
}
