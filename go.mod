module github.com/fieldpost/fieldpost

go 1.26

require (
	github.com/gofrs/flock v0.13.0 // indirect
	golang.org/x/sys v0.37.0 // indirect
)
