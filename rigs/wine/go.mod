module github.com/fieldpost/fieldpost/rigs/wine

go 1.26.0
