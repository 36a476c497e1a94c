// Package config reads the YAML files of both daemons. It knows every key, says
// exactly where a file is wrong, and leaves nothing to guess:
//
//	agent.yaml:3:13: heartbeat.interval: "5" has no unit; write 5s, 1m30s or 200ms
//	  2 | heartbeat:
//	> 3 |   interval: 5
//	    |             ^
//
// A file goes through three steps, each with the position of what it looks at:
//
//	text --YAML parser--> nodes --decoder: keys, ${VAR}, units--> Agent or Collector
//	                                        |
//	                                        +--> Problems: all of them at once
//
// Every scalar is text until the key that owns it has parsed it, so an id may be
// 007 and a variable may stand for any value: ${VAR}, ${VAR:-default} and $$ for
// a dollar sign are expanded in values, after the YAML has been parsed, so what
// a variable holds never becomes structure.
//
// What the package promises: [ParseAgent] and [ParseCollector] never panic; a
// file with an unknown key, a key given twice or a bad value is never accepted;
// a key that is not given has the value that [DefaultAgent] or [DefaultCollector]
// has. What it does not do: it opens no folder, resolves no name, and knows
// nothing of flags; the commands lay those over what it returns.
package config
