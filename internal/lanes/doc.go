// Package lanes has what is common to all who name lanes: which lane a message
// goes to by its topic, and what a lane may be called.
//
//	topic --> route 1? --> route 2? --> ... --> the default lane
//
// [Routes] match topics as MQTT does; the first match wins. [Check] refuses names
// that are one folder on some systems and two on others. The package opens
// nothing and keeps nothing; its functions may be called concurrently.
package lanes
