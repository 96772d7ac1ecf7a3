//go:build servers

package main

const otherPrograms = ""

func otherProgram(string) func() int { return nil }
