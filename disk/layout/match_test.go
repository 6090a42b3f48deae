package layout

import "testing"

func TestMatches(t *testing.T) {
	yes, no := true, false
	disk := Properties{
		Serial: "S4EWNX0M", WWN: "eui.0025385b01432aeb", Model: "Samsung SSD 970 EVO 500GB ", Size: 500107862016,
		Transport: "nvme", Table: "5D3C2A10-8F4E-4A51-9C43-000000000001",
	}
	tests := map[string]struct {
		m    Match
		want bool
	}{
		"nothing":         {Match{}, false},
		"serial":          {Match{Serial: "S4EWNX0M"}, true},
		"other serial":    {Match{Serial: "S4EWNX0"}, false},
		"wwn":             {Match{WWN: "0x0025385B01432AEB"}, true},
		"other wwn":       {Match{WWN: "eui.0025385b01432aec"}, false},
		"model":           {Match{Model: "Samsung SSD 970 EVO 500GB"}, true},
		"pattern":         {Match{Model: "Samsung*EVO ???GB"}, true},
		"part of a model": {Match{Model: "Samsung"}, false},
		"bad pattern":     {Match{Model: "Samsung*EVO ??GB"}, false},
		"transport":       {Match{Transport: "nvme"}, true},
		"sata":            {Match{Transport: "sata"}, false},
		"turns":           {Match{Rotational: &yes}, false},
		"turns not":       {Match{Rotational: &no, Removable: &no}, true},
		"removable":       {Match{Removable: &yes}, false},
		"table":           {Match{Table: "5d3c2a10-8f4e-4a51-9c43-000000000001"}, true},
		"other table":     {Match{Table: "5d3c2a10-8f4e-4a51-9c43-000000000002"}, false},
		"all":             {Match{Serial: "S4EWNX0M", Size: "500G", Transport: "nvme"}, true},
		"all but one":     {Match{Serial: "S4EWNX0M", Size: "500G", Transport: "usb"}, false},
		"size":            {Match{Size: "500G"}, true},
		"size, 1 %":       {Match{Size: "504GB"}, true},
		"size, 2 %":       {Match{Size: "510G"}, false},
		"binary":          {Match{Size: "465.76GiB"}, true},
		"at least":        {Match{Size: ">=100G"}, true},
		"at least it":     {Match{Size: ">= 500107862016"}, true},
		"above it":        {Match{Size: ">500107862016"}, false},
		"at most":         {Match{Size: "<=1T"}, true},
		"below":           {Match{Size: "<500G"}, false},
		"range":           {Match{Size: "100G..600G"}, true},
		"other range":     {Match{Size: "600G..1T"}, false},
		"no size":         {Match{Size: "much"}, false},
	}
	for name, tt := range tests {
		if got := tt.m.Matches(disk); got != tt.want {
			t.Errorf("%s: %s matches: %v", name, tt.m, got)
		}
	}
}

func TestMatchString(t *testing.T) {
	no := false
	m := Match{Serial: "a", Size: ">=1T", Transport: "usb", Rotational: &no}
	if got, want := m.String(), "serial a, size >=1T, transport usb, rotational false"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSizeRangeErrors(t *testing.T) {
	for _, s := range []string{"x", ">", "1G..", "..", "5X", "-1G", "0", "1e99P", ">=", "1GG", "5Gi", "NaN", "0x5G"} {
		if r, err := parseSizeRange(s); err == nil {
			t.Errorf("%q is %v", s, r)
		}
	}
}
