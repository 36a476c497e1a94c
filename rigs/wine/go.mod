module github.com/fieldpost/fieldpost/rigs/wine

go 1.26.0

replace (
	github.com/fieldpost/fieldpost => ../..
	github.com/fieldpost/fieldpost/rigs/powercut => ../powercut
)

require github.com/fieldpost/fieldpost v0.0.0-00010101000000-000000000000
