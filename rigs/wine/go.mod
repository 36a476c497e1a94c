module github.com/fieldpost/fieldpost/rigs/wine

go 1.26.0

replace (
	github.com/fieldpost/fieldpost => ../..
	github.com/fieldpost/fieldpost/rigs/powercut => ../powercut
)

require (
	github.com/fieldpost/fieldpost v0.0.0-00010101000000-000000000000
	github.com/fieldpost/fieldpost/rigs/powercut v0.0.0-00010101000000-000000000000
)

require (
	github.com/cenkalti/backoff/v4 v4.3.0 // indirect
	github.com/gofrs/flock v0.13.0 // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/hanwen/go-fuse/v2 v2.12.1 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	go.etcd.io/bbolt v1.5.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
