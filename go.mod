module github.com/fieldpost/fieldpost

go 1.26
