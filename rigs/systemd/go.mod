module github.com/fieldpost/fieldpost/rigs/systemd

go 1.26.0
