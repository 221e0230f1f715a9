import { startService } from '@fairlead/chassis/run'
import { orderService } from './start.ts'

await startService(orderService)
