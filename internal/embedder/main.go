// Command embedder DIR [COLLECTOR...] is a program that embeds the agent, as small as one can be: it
// hands one message in and leaves it to the next run, or to this one if a
// collector is there, to bring it home. It is a module of its own, as a user's
// program is, so that its test sees what the agent pulls into one.
package main

import (
	"context"
	"log"
	"os"

	"github.com/fieldpost/fieldpost/agent"
)

func main() {
	ctx := context.Background()
	a, err := agent.Open(ctx, agent.Config{ID: "pump-7", Dir: os.Args[1], Collectors: os.Args[2:], InsecurePlaintext: true})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	if err := a.Send(ctx, agent.Message{Topic: "pump/pressure", Body: []byte("3.2 bar")}); err != nil {
		log.Fatal(err) // not on disk
	}
	log.Printf("accepted: %d", a.Status().Lanes[0].Accepted)
}
