package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/victorinix/vic/builder/raspberry"
)

// imagesNote says what the figures mean.
const imagesNote = "The disk is of Debian 13 with the cloud kernel and openssh-server, for UEFI and BIOS;\n" +
	"from nothing means with an empty cache: all packages are downloaded from the mirror\n" +
	"of this machine. The card is for all boards, with their firmware."

// accessPoint is the item of the card.
const accessPoint = "reverse-wifi-access-point"

// images times what builds disk images, and measures a card.
func (s Suite) images(ctx context.Context) ([]Row, error) {
	disk := filepath.Join(s.Dir, "disk")
	debian := []string{"build", "debian", "--format", "disk", "-o", "kernel=cloud", "--out", disk, "--json"}
	nothing := filepath.Join(s.Dir, "empty-cache")
	cold, err := s.Vic.run(ctx, append(debian, "--cache", nothing)...)
	if err != nil {
		return nil, err
	}
	var warm []float64
	for i := range s.Rounds {
		// Another name, so that the image is another one.
		r, err := s.Vic.run(ctx, append(debian, "--cache", nothing, "--offline", "-o", fmt.Sprintf("hostname=bench%d", i))...)
		if err != nil {
			return nil, err
		}
		warm = append(warm, r.Total.Seconds())
	}
	card := filepath.Join(s.Dir, "card")
	made, err := s.Vic.Run(ctx, "build", accessPoint, "--format", "disk", "-o", "country=DE", "--out", card)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(filepath.Join(card, raspberry.ImageFile))
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{disk, nothing, card} {
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
	}
	return []Row{
		{"`vic build debian --format disk`, from nothing", cold.Total.Seconds(), mkosi, "s", "mkosi needs that on 2 processors, with its downloads"},
		{"the same with another host name", Median(warm), 0, "s", fmt.Sprintf("warm cache, median of %d", s.Rounds)},
		{"card for the access point", float64(info.Size()) / megabyte, 150, "MB", "the size of the image"},
		{"`vic build " + accessPoint + " --format disk`", made.Total.Seconds(), 0, "s", "warm cache"},
	}, nil
}
