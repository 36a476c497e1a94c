//go:build !fieldpost_sabotage

package sabotage

// Built says whether this binary can be sabotaged at all.
const Built = false

// The switches; false, so that the compiler removes what they guard.
const (
	NoSync     = false // the queue says "accepted" before its transaction is written and synced
	AckFirst   = false // the collector acks before its store has the entry
	NoDedupe   = false // the store applies entries without comparing them with W
	NoFork     = false // the agent believes a store's W on whatever line of history it is
	NoSalvage  = false // the queue searches no damaged file
	NoChecksum = false // the queue believes a batch whose checksum is wrong
	TombFirst  = false // the queue leaves a tombstone where the first try to read fails
	Amnesia    = false // the journal goes on without its memory
	LowerW     = false // the journal forgets what a record that is gone had settled
	DeafSync   = false // the queue and the journal take a sync that fails for one that succeeds
)
