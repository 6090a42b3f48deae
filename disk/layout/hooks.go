package layout

import "reflect"

var hooksType = reflect.TypeFor[Hooks]()

// hooked says whether there is a script anywhere in a layout.
func hooked(l Layout) bool { return hookedIn(reflect.ValueOf(l)) }

func hookedIn(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return !v.IsNil() && hookedIn(v.Elem())
	case reflect.Struct:
		if v.Type() == hooksType {
			return !v.IsZero()
		}
		for i := range v.NumField() {
			if hookedIn(v.Field(i)) {
				return true
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if hookedIn(it.Value()) {
				return true
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if hookedIn(v.Index(i)) {
				return true
			}
		}
	}
	return false
}
