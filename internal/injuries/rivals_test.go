package injuries

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/fieldpost/fieldpost/wire"
)

// rivalEnv makes the test binary a process that reads one file with bbolt: by the
// keys on its standard input, or, without any, by a cursor. It may die or hang.
const rivalEnv = "FIELDPOST_INJURIES_RIVAL"

// rivalWithin is how long it may take.
const rivalWithin = 5 * time.Second

// rival prints the first number of each batch that it gets whole.
func rival() {
	db, err := bbolt.Open(os.Getenv(rivalEnv), 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	show := func(b *bbolt.Bucket) {
		if b == nil {
			return
		}
		if p, err := wire.ParseBatch(b.Get([]byte{0})); err == nil {
			fmt.Println(p.First)
		}
	}
	err = db.View(func(tx *bbolt.Tx) error {
		keys := bufio.NewScanner(os.Stdin)
		some := false
		for keys.Scan() {
			some = true
			var n uint64
			if _, err := fmt.Sscan(keys.Text(), &n); err == nil {
				show(tx.Bucket(binary.BigEndian.AppendUint64(nil, n)))
			}
		}
		if !some {
			c := tx.Cursor()
			for k, _ := c.First(); k != nil; k, _ = c.Next() {
				if len(k) == 8 {
					show(tx.Bucket(k))
				}
			}
		}
		return nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

// askRival has bbolt read a copy of a file. It returns the first numbers it got
// before it ended, died or was killed.
func (f *fate) askRival(path string, keys []wire.Seq) (map[string]bool, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	temp := path + ".rival"
	if err := os.WriteFile(temp, b, 0o600); err != nil {
		return nil, err
	}
	defer os.Remove(temp)
	ctx, cancel := context.WithTimeout(context.Background(), rivalWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), rivalEnv+"="+temp, "GOMEMLIMIT=1GiB")
	var in, out bytes.Buffer
	for _, k := range keys {
		fmt.Fprintln(&in, k)
	}
	cmd.Stdin, cmd.Stdout = &in, &out
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		f.hung++
	case errors.As(err, &exit) && exit.ExitCode() != 3: // 3: bbolt returned an error
		f.died++
	}
	got := map[string]bool{}
	for _, line := range strings.Fields(out.String()) {
		got[line] = true
	}
	return got, nil
}

// rivals has bbolt read the injured files in which something is whole.
func (l *life) rivals(f *fate) error {
	for path := range l.touched {
		var keys []wire.Seq
		for _, p := range wholeIn(path) {
			keys = append(keys, p.First)
		}
		if len(keys) == 0 {
			continue
		}
		byKey, err := f.askRival(path, keys)
		if err != nil {
			return err
		}
		byCursor, err := f.askRival(path, nil)
		if err != nil {
			return err
		}
		seen := map[wire.Seq]bool{}
		for _, k := range keys {
			if seen[k] {
				continue // written again as a page moved
			}
			seen[k] = true
			f.rivalsOf++
			if byKey[k.String()] {
				f.byKey++
			}
			if byCursor[k.String()] {
				f.byCursor++
			}
		}
	}
	return nil
}
