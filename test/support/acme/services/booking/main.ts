import { startService } from '@fairlead/chassis/run'
import { bookingService } from './start.ts'

await startService(bookingService)
