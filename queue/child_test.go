package queue

const childEnv = "FIELDPOST_QUEUE_CHILD"

func child() {}
