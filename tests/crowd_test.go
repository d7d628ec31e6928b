package tests

func crowdMain(args []string) int   { return 0 }
func limitedMain(args []string) int { return 0 }
