package config_test

import (
	"fmt"
	"os"

	"github.com/fieldpost/fieldpost/internal/config"
)

func ExampleParseAgent() {
	file := "id: pump-7\nheartbeat:\n  interval: 5\n"
	_, err := config.ParseAgent("agent.yaml", []byte(file), os.LookupEnv)
	fmt.Println(err)
	// Output:
	// agent.yaml:3:13: heartbeat.interval: "5" has no unit; write 5s, 1m30s or 200ms
	//   2 | heartbeat:
	// > 3 |   interval: 5
	//     |             ^
}
