// Command vic-env stands in for the real one in the generator's tests.
package main

import "fmt"

func main() { fmt.Println("vic-env") }
