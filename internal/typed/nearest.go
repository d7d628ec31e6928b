package typed

// Nearest returns the candidate most similar to word, or "" if none is similar.
func Nearest(word string, candidates []string) string {
	best, least := "", 1+max(2, len(word)/3)
	for _, c := range candidates {
		if d := distance(word, c); d < least && d < max(len(word), len(c)) {
			best, least = c, d
		}
	}
	return best
}

// distance returns the number of insertions, deletions and replacements of characters that turn a into b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
