//go:build race

package journey

const raceDetector = true
