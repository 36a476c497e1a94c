module github.com/fieldpost/fieldpost/bench

go 1.26.0

require (
	github.com/fieldpost/fieldpost v0.0.0
	golang.org/x/sys v0.49.0
)

require (
	github.com/cenkalti/backoff/v4 v4.3.0 // indirect
	github.com/gofrs/flock v0.13.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	go.etcd.io/bbolt v1.5.0 // indirect
)

replace github.com/fieldpost/fieldpost => ..
