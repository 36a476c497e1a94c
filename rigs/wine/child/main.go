// Command child is an agent for the power cuts: on Windows it puts messages into a
// folder and says what became of each, until its disk or it itself is gone.
//
//	child FOLDER LIFE COLLECTOR|- [drain]
//
// It says "open"; "try P N" before message N of producer P is sent, "accepted P N" or
// "unknown P N" after it; with drain only "drained", once all is delivered.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/agent"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	cfg := agent.Config{
		ID: "pump-7", Dir: args[0], InsecurePlaintext: true,
		Lanes:     map[string]agent.LaneConfig{"default": {SegmentSize: 64 << 10}},
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Reconnect: agent.Reconnect{Min: 5 * time.Millisecond, Max: 20 * time.Millisecond},
	}
	if args[2] != "-" {
		cfg.Collectors = []string{args[2]}
	}
	a, err := agent.Open(context.Background(), cfg)
	if err != nil {
		return err
	}
	fmt.Println("open")
	if len(args) > 3 {
		if err := errors.Join(a.Flush(context.Background()), a.Close()); err != nil {
			return err
		}
		fmt.Println("drained")
		return nil
	}
	var wg sync.WaitGroup
	for p := range 4 {
		wg.Go(func() {
			for n := 1; ; n++ {
				fmt.Printf("try %d %d\n", p, n)
				err := a.Send(context.Background(), agent.Message{Topic: "cut", Body: []byte(body(args[1], p, n))})
				switch {
				case err == nil:
					fmt.Printf("accepted %d %d\n", p, n)
				default: // the disk is gone; whether it had the message is not known
					fmt.Printf("unknown %d %d %v\n", p, n, err)
					return
				}
			}
		})
	}
	wg.Wait()
	return nil // closing would wait for the disk
}

// body is the body of a message: its name, and as much more as its number says.
func body(life string, p, n int) string {
	return fmt.Sprintf("life %s producer %d message %d %s", life, p, n, strings.Repeat("x", n*37%3000))
}
